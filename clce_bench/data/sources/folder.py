"""A folder of the user's own images, a sub-folder per class, as torchvision's ImageFolder has it.

``folder:PATH`` names it wherever a data set is named. When the sub-folders are ``train`` and any of ``val``,
``validation`` and ``test``, these are the official parts and the classes lie one level below.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from clce_bench.data.dataset import Dataset, Images
from clce_bench.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
LARGE = 50_000
"""Images above which they stay files."""
LIGHT = 2**28
"""Bytes of a folder above which a change is noticed by the files' sizes and times, not by their content."""


class Found(NamedTuple):
    """An image file with its class and, where there are any, its official part."""

    path: Path
    name: str
    part: str | None


def folder_dataset(name: str) -> Dataset:
    """Describes the data set in a folder.

    Args:
        name: ``folder:PATH``.

    Raises:
        UserError: there is no such folder, or it has no classes, or a class has too few images.
    """
    root = Path(name.removeprefix("folder:"))
    found = find_images(root)

    def read(_size: int) -> Images:
        ids = [image.path.relative_to(root).as_posix() for image in found]
        parts = [image.part for image in found if image.part]
        return Images([image.path for image in found], ids, [image.name for image in found], ids, parts or None)

    return Dataset(
        name=name,
        images=name,
        task="classification",
        read=read,
        train_images=sum(image.part in (None, "train") for image in found),
        source=f"the folder {root}",
        licence="not stated",
        citation="not stated",
        class_count=len({image.name for image in found}),
        image_count=len(found),
        large=len(found) > LARGE,
        state=_state(root, [image.path for image in found]),
    )


def find_images(root: Path) -> list[Found]:
    """Lists the images of a folder, class after class, in the order of their names.

    Raises:
        UserError: as :func:`folder_dataset` says.
    """
    if not root.is_dir():
        raise UserError(f"folder:{root}: there is no such folder.")
    names = _subfolders(root)
    divided = bool(names) and set(names) <= set(PARTS)
    if divided and "train" not in names:
        raise UserError(f"folder:{root}: has {', '.join(names)} but no train.")
    parts = [(root / name, PARTS[name]) for name in names] if divided else [(root, None)]
    found = [
        Found(path, name, part)
        for folder, part in parts
        for name in _subfolders(folder)
        for path in _images_below(folder / name)
    ]
    _check(root, found, divided)
    return found


def _state(root: Path, paths: list[Path]) -> str:
    """Hashes the images' content; of folders too large to be read each time, their files' sizes and times."""
    states = [path.stat() for path in paths]
    by_content = sum(state.st_size for state in states) <= LIGHT
    total = hashlib.sha256()
    for path, state in zip(paths, states, strict=True):
        what = hashlib.sha256(path.read_bytes()).hexdigest() if by_content else f"{state.st_size} {state.st_mtime_ns}"
        total.update(f"{path.relative_to(root)} {what}\n".encode())
    return total.hexdigest()[:16]


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _images_below(folder: Path) -> list[Path]:
    below = os.walk(folder, followlinks=True)
    return sorted(Path(place, file) for place, _, files in below for file in files if file.lower().endswith(ENDINGS))


def _check(root: Path, found: list[Found], divided: bool) -> None:
    where = "below train" if divided else "in it"
    names = {image.name for image in found}
    if len(names) < 2:
        listing = f"found {len(names)} with images ({', '.join(ENDINGS)})"
        raise UserError(f"folder:{root}: at least two classes are needed, a sub-folder each, {where}; {listing}.")
    training = Counter(image.name for image in found if image.part in (None, "train"))
    needed = 2 if divided else 3  # One to train, one to validate, one to test.
    for name in sorted(names):
        if training[name] < needed:
            found_here = f"{training[name]} images to train on" if divided else f"{training[name]} images"
            raise UserError(f"folder:{root}: the class {name!r} has {found_here}; at least {needed} are needed.")
