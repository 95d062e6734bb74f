"""CIFAR-10 and CIFAR-100, and the few-shot sets CIFAR-FS and FC100, which are CIFAR-100 with other splits.

torchvision reads the same archives, but opens their pickles without any restriction and hides the coarse labels.
The class lists are in ``cifar.json`` beside this file; they are those of torchmeta 1.8.0 (MIT).
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.data.dataset import Dataset, File, Images
from clce_bench.data.fetch import obtain_unpacked
from clce_bench.data.pickles import load_pickle
from clce_bench.data.resizing import squares
from clce_bench.data.sources.text_lists import parts_of_classes
from clce_bench.errors import UserError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_BASE = "https://www.cs.toronto.edu/~kriz/"
# Addresses and checksums as in torchvision 0.29.
CIFAR10_FILE = File(
    "cifar-10-python.tar.gz",
    (f"{_BASE}cifar-10-python.tar.gz",),
    "md5:c58f30108f718f92721af3b95e74349a",
    size=170_500_000,
    unpacked="cifar-10-batches-py",
)
CIFAR100_FILE = File(
    "cifar-100-python.tar.gz",
    (f"{_BASE}cifar-100-python.tar.gz",),
    "md5:eb9058c3a382ffc7106e4002c42a8d85",
    size=169_000_000,
    unpacked="cifar-100-python",
)
CLASS_COUNTS = {"cifar-fs": (64, 16, 20), "fc100": (60, 20, 20)}


class _Batch(NamedTuple):
    pixels: NDArray[np.uint8]
    labels: list[int]
    coarse: list[int]


def read_cifar10(size: int) -> Images:
    """Reads CIFAR-10.

    Args:
        size: height and width in pixels.

    Raises:
        UserError: the archive cannot be had, or is not CIFAR-10's.
    """
    folder = obtain_unpacked("cifar10", CIFAR10_FILE, PAGE)
    names = _field(folder / "batches.meta", "label_names")
    training = [_batch(folder / f"data_batch_{number}", "labels") for number in range(1, 6)]
    return _images([*training, _batch(folder / "test_batch", "labels")], ["train"] * 5 + ["test"], names, size)


def read_cifar100(size: int) -> Images:
    """Reads CIFAR-100 with its fine labels.

    Args:
        size: height and width in pixels.

    Raises:
        UserError: the archive cannot be had, or is not CIFAR-100's.
    """
    folder = obtain_unpacked("cifar100", CIFAR100_FILE, PAGE)
    batches = [_batch(folder / part, "fine_labels") for part in ("train", "test")]
    return _images(batches, ["train", "test"], _field(folder / "meta", "fine_label_names"), size)


def read_few_shot(name: str, size: int) -> Images:
    """Reads CIFAR-100, training and test images together, with the class split of a few-shot set.

    Args:
        name: ``cifar-fs``, whose list splits the classes, or ``fc100``, whose list splits the superclasses.
        size: height and width in pixels.

    Raises:
        UserError: the archive cannot be had, is not CIFAR-100's, or does not have the classes of the split.
    """
    images = read_cifar100(size)
    split = json.loads(Path(__file__).with_suffix(".json").read_text())[name]
    if name == "fc100":
        below = _fine_below_coarse()
        split = {part: [fine for coarse in names for fine in below.get(coarse, [])] for part, names in split.items()}
    part_of = parts_of_classes(images.classes, split, CLASS_COUNTS[name])
    return replace(images, parts=[part_of[label] for label in images.classes])


def _fine_below_coarse() -> dict[str, list[str]]:
    folder = obtain_unpacked("cifar100", CIFAR100_FILE, PAGE)
    fine, coarse = (_field(folder / "meta", f"{kind}_label_names") for kind in ("fine", "coarse"))
    below: dict[str, list[str]] = {}
    batch = _batch(folder / "train", "fine_labels")
    for one, other in sorted(set(zip(batch.labels, batch.coarse, strict=True))):
        below.setdefault(coarse[other], []).append(fine[one])
    return below


def _field(path: Path, key: str) -> Any:
    content = load_pickle(path) if path.is_file() else {}
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{path}: not a file of CIFAR's: it has no {key!r}.")
    return content[key]


def _batch(path: Path, key: str) -> _Batch:
    labels = _field(path, key)
    content = load_pickle(path)
    pixels = content.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        raise UserError(f"{path}: not a file of CIFAR's: 'data' is not an array of {len(labels)} images.")
    return _Batch(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels, content.get("coarse_labels", []))


def _images(batches: list[_Batch], parts: Iterable[str], names: list[str], size: int) -> Images:
    labels = [label for batch in batches for label in batch.labels]
    part_of = [part for batch, part in zip(batches, parts, strict=True) for _ in batch.labels]
    ids = [f"{part}-{index:05d}" for index, part in enumerate(part_of)]
    return Images(
        pixels=squares((np.ascontiguousarray(image) for batch in batches for image in batch.pixels), len(ids), size),
        ids=ids,
        classes=[names[label] for label in labels],
        groups=ids,
        parts=part_of,
    )


CIFAR10 = Dataset(
    name="cifar10",
    images="cifar10",
    task="classification",
    read=read_cifar10,
    train_images=40_000,
    source="University of Toronto",
    licence="none stated; cite the report",
    citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
    files=(CIFAR10_FILE,),
    page=PAGE,
    class_count=10,
    image_count=60_000,
)
CIFAR100 = replace(
    CIFAR10, name="cifar100", images="cifar100", read=read_cifar100, files=(CIFAR100_FILE,), class_count=100
)
CIFAR_FS = replace(
    CIFAR100,
    name="cifar-fs",
    images="cifar-fs",
    task="few-shot",
    read=partial(read_few_shot, "cifar-fs"),
    train_images=38_400,
    citation="Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019",
    files=(),
    uses=("cifar100",),
)
FC100 = replace(
    CIFAR_FS,
    name="fc100",
    images="fc100",
    read=partial(read_few_shot, "fc100"),
    train_images=36_000,
    citation="Oreshkin et al., TADAM: task dependent adaptive metric, NeurIPS 2018",
)
