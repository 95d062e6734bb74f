"""ImageNet-1k (ILSVRC 2012), and the sets made of its images: ImageNet-100, miniImageNet and tieredImageNet.

ImageNet needs an account. Either the original archives are in ``data/imagenet/``, or folders ``train`` and ``val``
with a folder of images per class, as torchvision and most other tools leave them. torchvision's own class unpacks the
archives without checking what is in them. The labels of the test images are not public, so the official validation
part is the test part. The classes of ImageNet-100 (those of CMC, Tian et al. 2020) and of tieredImageNet are in
``imagenet.json`` beside this file.
"""

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clce_bench.data.archives import unpack
from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.fetch import check_placed, data_folder, exclusive, obtain, obtain_unpacked
from clce_bench.data.sources.text_lists import parts_of_classes
from clce_bench.errors import UserError

PAGE = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
# Checksums as in torchvision 0.29, sizes as in TensorFlow Datasets 4.9.10; that of the devkit is not known.
TRAIN = File(
    "ILSVRC2012_img_train.tar", (), "md5:1d675b47d978889d74fa0da5fadfb00e", size=147_897_477_120, unpacked="train"
)
VALIDATION = File(
    "ILSVRC2012_img_val.tar", (), "md5:29b22e2961454d5413ddabcf34fc5622", size=6_744_924_160, unpacked="val"
)
DEVKIT = File(
    "ILSVRC2012_devkit_t12.tar.gz", (), "md5:fa75699e90414af021442c21a62c3abf", unpacked="ILSVRC2012_devkit_t12"
)

_LISTS = "https://raw.githubusercontent.com/sicara/easy-few-shot-learning"
# The split of Ravi and Larochelle by ImageNet's file names, from easyfsl (MIT); no checksums are published.
MINI_LISTS = {
    "train": File(
        "train.csv",
        (f"{_LISTS}/74e11dbb72c18e9d5f3e1055b85f5fa1d4e1c2c6/data/mini_imagenet/train.csv",),
        size=1_166_529,
    ),
    "validation": File(
        "val.csv", (f"{_LISTS}/f6da5bf816fa6d0e50aba2a6b5ccacdd236723c1/data/mini_imagenet/val.csv",), size=290_868
    ),
    "test": File(
        "test.csv", (f"{_LISTS}/f6da5bf816fa6d0e50aba2a6b5ccacdd236723c1/data/mini_imagenet/test.csv",), size=364_553
    ),
}
MINI_PAGE = "https://github.com/sicara/easy-few-shot-learning"
MINI_COUNTS, MINI_IMAGES_PER_CLASS = (64, 16, 20), 600
TIERED_COUNTS = (351, 97, 160)


def read_imagenet(size: int, wanted: Collection[str] | None = None) -> Images:
    """Lists the photographs: official training part, and official validation part as test.

    Args:
        size: not used: the files are decoded when they are needed.
        wanted: the classes to list; all when not given.

    Raises:
        UserError: files are missing, and where to get and where to put them; or they are not those of ImageNet.
    """
    labelled = _class_folders(data_folder() / "imagenet" / VALIDATION.unpacked)
    check_placed("imagenet", [TRAIN] if labelled else [TRAIN, VALIDATION, DEVKIT], PAGE)
    training = {path: path.parent.name for path in _training()}
    return Images.of_files(
        ImageFile(path, f"{part}/{label}/{path.stem}", label, part)
        for part, photographs in (("train", training), ("test", _validation()))
        for path, label in photographs.items()
        if wanted is None or label in wanted
    )


def read_imagenet100(size: int) -> Images:
    """Lists the photographs of ImageNet-100's classes, with the parts of ImageNet.

    Args:
        size: not used: the files are decoded when they are needed.

    Raises:
        UserError: as :func:`read_imagenet`.
    """
    return read_imagenet(size, set(_lists()["imagenet100"]))


def read_tieredimagenet(size: int) -> Images:
    """Lists ImageNet's training photographs of tieredImageNet's classes, whose parts have no class in common.

    Args:
        size: not used: the files are decoded when they are needed.

    Raises:
        UserError: ImageNet is missing.
    """
    paths = _training()
    classes = [path.parent.name for path in paths]
    return _few_shot(paths, parts_of_classes(classes, _lists()["tieredimagenet"], TIERED_COUNTS))


def read_miniimagenet(size: int) -> Images:
    """Lists ImageNet's training photographs that miniImageNet is made of, 600 of each of 100 classes.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: ImageNet is missing, or the lists cannot be had or do not have the literature's counts.
    """
    lists = obtain("miniimagenet", list(MINI_LISTS.values()), MINI_PAGE)
    split: dict[str, list[str]] = {}
    names: list[tuple[str, str]] = []
    for part, file in MINI_LISTS.items():
        with (lists / file.name).open(newline="") as opened:
            rows = [(row["class_name"], row["image_name"]) for row in csv.DictReader(opened)]
        split[part] = sorted({label for label, _ in rows})
        if len(rows) != len(split[part]) * MINI_IMAGES_PER_CLASS:
            raise UserError(
                f"{lists / file.name}: not miniImageNet's: {len(rows)} images of {len(split[part])} classes."
            )
        names += rows
    part_of = parts_of_classes([label for label, _ in names], split, MINI_COUNTS)
    folder = _training_folder()
    return _few_shot([folder / label / name for label, name in names], part_of)


def _few_shot(paths: Sequence[Path], part_of: Mapping[str, str]) -> Images:
    return Images.of_files(
        ImageFile(path, path.stem, label, part_of[label]) for path in paths if (label := path.parent.name) in part_of
    )


def _lists() -> Any:
    return json.loads(Path(__file__).with_suffix(".json").read_text())


def _class_folders(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() for path in folder.iterdir())


def _training() -> list[Path]:
    return sorted(_training_folder().glob("n*/*.JPEG"))


def _training_folder() -> Path:
    """Unpacks the archive of a thousand archives, each of which is deleted once it is unpacked."""
    folder = data_folder() / "imagenet"
    target = folder / TRAIN.unpacked
    if target.is_dir():
        return target
    obtain("imagenet", [TRAIN], PAGE)
    with exclusive(folder):
        archives = unpack(folder / TRAIN.name, folder / "train.archives")
        partly = folder / "train.partly"
        partly.mkdir(exist_ok=True)
        for archive in sorted(archives.glob("*.tar")):
            unpack(archive, partly / archive.stem)
            archive.unlink()
        partly.replace(target)
        archives.rmdir()
    return target


def _validation() -> dict[Path, str]:
    """Lists the validation photographs with their classes, which the devkit knows when no folders tell."""
    folder = data_folder() / "imagenet" / VALIDATION.unpacked
    if _class_folders(folder):
        return {path: path.parent.name for path in sorted(folder.glob("n*/*.JPEG"))}
    from scipy.io import loadmat

    photographs = sorted(obtain_unpacked("imagenet", VALIDATION, PAGE).glob("*.JPEG"))
    devkit = obtain_unpacked("imagenet", DEVKIT, PAGE) / "data"
    class_of = {int(row[0]): str(row[1]) for row in loadmat(devkit / "meta.mat", squeeze_me=True)["synsets"]}
    truth = (devkit / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
    if len(truth) != len(photographs):
        raise UserError(f"{folder}: {len(photographs)} photographs, but the devkit has labels for {len(truth)}.")
    return {path: class_of[int(number)] for path, number in zip(photographs, truth, strict=True)}


IMAGENET = Dataset(
    name="imagenet",
    images="imagenet",
    task="classification",
    read=read_imagenet,
    train_images=1_024_933,
    source="ImageNet Large Scale Visual Recognition Challenge 2012",
    licence="non-commercial research and education, by agreement with ImageNet",
    citation="Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
    files=(TRAIN, VALIDATION, DEVKIT),
    page=PAGE,
    class_count=1000,
    image_count=1_331_167,
    large=True,
)
IMAGENET100 = replace(
    IMAGENET,
    name="imagenet100",
    images="imagenet100",
    read=read_imagenet100,
    train_images=102_400,  # About: a tenth of ImageNet's; the number was not seen.
    citation="Tian, Krishnan and Isola, Contrastive multiview coding, ECCV 2020 (the list of classes)",
    files=(),
    uses=("imagenet",),
    class_count=100,
    image_count=0,
)
MINIIMAGENET = replace(
    IMAGENET100,
    name="miniimagenet",
    images="miniimagenet",
    task="few-shot",
    read=read_miniimagenet,
    train_images=38_400,
    citation="Vinyals et al., Matching networks, NeurIPS 2016; split: Ravi and Larochelle, ICLR 2017",
    files=tuple(MINI_LISTS.values()),
    image_count=60_000,
    large=False,
)
TIEREDIMAGENET = replace(
    IMAGENET100,
    name="tieredimagenet",
    images="tieredimagenet",
    task="few-shot",
    read=read_tieredimagenet,
    train_images=448_695,
    citation="Ren et al., Meta-learning for semi-supervised few-shot classification, ICLR 2018",
    class_count=608,
    image_count=779_165,
)
