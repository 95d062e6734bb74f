"""Fashion-MNIST: 28 × 28 pixels in grey, from the user's folder, from Debian, or from its publisher's mirror."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clce_bench.data.dataset import Dataset, File, Images
from clce_bench.data.debian_packages import from_debian
from clce_bench.data.fetch import data_folder, obtain
from clce_bench.data.resizing import squares
from clce_bench.errors import UserError

NAME = "fashion-mnist"
PAGE = "https://github.com/zalandoresearch/fashion-mnist"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

_MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# Names, address and checksums as in torchvision 0.29; sizes as in TensorFlow Datasets 4.9.10.
FILES = tuple(
    File(name, (_MIRROR + name,), f"md5:{md5}", size)
    for name, md5, size in (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    )
)


def read_fashion_mnist(size: int) -> Images:
    """Enlarges the images and repeats their grey in three channels.

    torchvision has a parser for these files, for unpacked ones only.

    Args:
        size: height and width in pixels.

    Raises:
        UserError: the files cannot be had, or are not those of Fashion-MNIST.
    """
    folder = _folder()
    pixels, labels = (
        [read_idx(folder / f"{part}-{kind}-ubyte.gz", dimensions) for part in ("train", "t10k")]
        for kind, dimensions in (("images-idx3", 3), ("labels-idx1", 1))
    )
    parts = ["train"] * len(labels[0]) + ["test"] * len(labels[1])
    ids = [
        f"{part}-{index:05d}"
        for part, some in zip(("train", "test"), labels, strict=True)
        for index in range(len(some))
    ]
    return Images(
        pixels=squares(np.concatenate(pixels), len(ids), size),
        ids=ids,
        classes=[CLASSES[label] for label in np.concatenate(labels)],
        groups=ids,
        parts=parts,
    )


def _folder() -> Path:
    folder = data_folder() / NAME
    placed = all((folder / file.name).exists() for file in FILES)
    packaged = None if placed else from_debian("dataset-fashion-mnist", "datasets/fashion-mnist", folder / "debian")
    return packaged or obtain(NAME, FILES, PAGE)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Reads a gzipped IDX file of bytes.

    Raises:
        UserError: it is not one, or not of so many dimensions.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}.") from None
    shape = np.frombuffer(content, ">u4", dimensions, offset=4) if len(content) >= 4 + 4 * dimensions else ()
    values = content[4 + 4 * dimensions :]
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(values) != np.prod(shape, dtype=np.int64):
        raise UserError(f"{path}: not an IDX file of bytes in {dimensions} dimensions.")
    return np.frombuffer(values, np.uint8).reshape(shape)


FASHION_MNIST = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_fashion_mnist,
    train_images=48_000,
    source="Zalando Research; Debian's package dataset-fashion-mnist where there is one",
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking, arXiv 1708.07747, 2017",
    files=FILES,
    page=PAGE,
    class_count=10,
    image_count=70_000,
)
