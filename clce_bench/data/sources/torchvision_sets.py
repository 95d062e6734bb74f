"""Any of torchvision's sets for classification, read by torchvision's own class: ``torchvision:NAME``."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from clce_bench.data.dataset import Dataset, ImageFile, Images
from clce_bench.data.fetch import check_placed, data_folder, exclusive
from clce_bench.data.resizing import square
from clce_bench.data.sources.torchvision_table import KNOWN, Known
from clce_bench.errors import UserError, unknown

LARGE = 50_000
"""Images above which those that are files stay files."""


def torchvision_dataset(name: str) -> Dataset:
    """Describes one of torchvision's sets.

    Args:
        name: ``torchvision:NAME``, with the name of torchvision's class.

    Raises:
        UserError: torchvision has no such set for classification.
    """
    own = name.partition(":")[2]
    if own not in KNOWN:
        raise UserError(unknown("a set for classification of torchvision", own, KNOWN))
    known = KNOWN[own]
    count = sum(known.images.values())
    return Dataset(
        name=name,
        images=name,
        task="few-shot" if known.few_shot else "classification",
        read=lambda size: read_torchvision(name, size),
        train_images=_training_images(known),
        source=f"torchvision's class {own}",
        licence=known.licence,
        citation=known.citation,
        files=known.files,
        page=known.page,
        class_count=known.classes,
        image_count=count,
        large=count > LARGE and known.image_files,
    )


def read_torchvision(name: str, size: int) -> Images:
    """Lets torchvision download, check and read a set; what is there already is not fetched again.

    Args:
        name: ``torchvision:NAME``.
        size: height and width in pixels of images that are not files of their own.

    Raises:
        UserError: the set cannot be had, or its files are damaged or lack something.
    """
    own = name.partition(":")[2]
    known, root = KNOWN[own], data_folder() / name
    check_placed(name, known.files, known.page)
    with exclusive(root):
        parts = {part: _made(own, root, arguments) for part, arguments in known.parts.items()}
    try:
        if known.image_files:
            return _files(parts, root)
        return _pixels(parts, size)
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {root} cannot be read: {error}.") from error


def _made(own: str, root: Path, arguments: dict[str, Any]) -> Any:
    """Makes torchvision's object; lets it download what it needs only if it cannot do without."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, own.partition("-")[0])
    given = {"root": root, **arguments, **({"loader": Path} if KNOWN[own].image_files else {})}
    # What torchvision and the libraries below it raise for files that are absent, cut off or not the right ones.
    unusable = (RuntimeError, OSError, EOFError, ValueError, ImportError)
    if "download" not in constructor_arguments(kind):
        tries: list[dict[str, bool]] = [{}]
    else:
        tries = [{"download": False}, {"download": True}]
    for fetch in tries:
        try:
            return kind(**given, **fetch)
        except unusable as error:
            last = error
    reason = str(last).strip() or type(last).__name__
    way_out = f"Run again, or get the files at {KNOWN[own].page} and put them there"
    raise UserError(f"torchvision:{own}: cannot be had in {root}: {reason}\n{way_out}.") from last


def constructor_arguments(kind: type) -> set[str]:
    """Lists the arguments of a constructor, and of those that it may pass others on to."""
    return {name for base in inspect.getmro(kind)[:-1] for name in inspect.signature(base).parameters}


def _files(parts: dict[str, Any], root: Path) -> Images:
    found = []
    for part, dataset in parts.items():
        for path, label in (dataset[index] for index in range(len(dataset))):
            name = path.relative_to(root).as_posix()
            found.append(ImageFile(path, name, _class_name(dataset, path, label), part or None))
    # Some of the classes list files as the file system does.
    return Images.of_files(sorted(found, key=lambda file: (list(parts).index(file.part or ""), file.id)))


def _pixels(parts: dict[str, Any], size: int) -> Images:
    count = sum(map(len, parts.values()))
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    ids: list[str] = []
    classes: list[str] = []
    listed: list[str] = []
    for part, dataset in parts.items():
        for index in range(len(dataset)):
            image, label = dataset[index]
            pixels[len(ids)] = np.asarray(square(image.convert("RGB"), size))
            ids.append(f"{part or 'image'}-{index:06d}")
            classes.append(_class_name(dataset, None, label))
            listed.append(part)
    return Images(pixels, ids, classes, ids, listed if all(listed) else None)


def _class_name(dataset: Any, path: Path | None, label: int) -> str:
    """Names a class as torchvision does; by its number where it has no names."""
    if path is not None and hasattr(dataset, "background"):  # Omniglot's names are private: alphabet and character.
        return "/".join(path.parts[-3:-1])
    if hasattr(dataset, "category_name"):  # iNaturalist
        return str(dataset.category_name("full", label))
    names = getattr(dataset, "wnids", None) or getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    return str(names[label]) if names else str(label)


def _training_images(known: Known) -> int:
    """Counts what trains with the default split, where parts are missing."""
    images = known.images.get("train", known.images.get("", 0))
    share = (1.0 if "test" in known.images else 0.75) * (1.0 if "validation" in known.images else 0.8)
    return round(images * share)
