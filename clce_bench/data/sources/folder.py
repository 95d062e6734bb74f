"""A folder of the user's own images, a sub-folder per class, as torchvision's ImageFolder has it.

``folder:PATH`` names it wherever a data set is named, ``folder-fs:PATH`` as a few-shot set, whose classes are divided.
When the sub-folders are ``train`` and any of ``val`` and ``test``, by any of their usual names in any case, these are
the official parts and the classes lie one level below.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from clce_bench.data.class_sizes import check_class_sizes
from clce_bench.data.dataset import Dataset, ImageFile, Images
from clce_bench.data.decode import FORMATS
from clce_bench.data.sources.folder_tables import tables_of, with_tables
from clce_bench.errors import UserError

ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Official parts, by what their folders are called."""
LARGE = 50_000
"""Images above which they stay files."""
LIGHT = 2**28
"""Bytes of a folder above which a change is noticed by the files' sizes and times, not by their content."""


def folder_dataset(name: str) -> Dataset:
    """Describes the data set in a folder.

    Args:
        name: ``folder:PATH``, or ``folder-fs:PATH``.

    Raises:
        UserError: there is no such folder; it has no classes, or is more than a data set; a class has too few images;
            or something in it cannot be read.
    """
    kind, _, path = name.partition(":")
    root, few_shot = Path(path), kind == "folder-fs"
    try:
        found = with_tables(root, find_images(root), PARTS)
        _check(root, found, few_shot)
        state = _state(root, [image.path for image in found] + tables_of(root))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"folder:{root}: cannot be read: {getattr(error, 'filename', None) or root}: {reason}."
        ) from None
    sizes = Counter(image.label for image in found).values()
    return Dataset(
        name=name,
        # Without parts of its own, which are of classes there, a few-shot set divides the same prepared images.
        images=name if any(image.part for image in found) else f"folder:{path}",
        task="few-shot" if few_shot else "classification",
        read=lambda _size: Images.of_files(found),
        train_images=sum(image.part in (None, "train") for image in found),
        source=f"the folder {root}",
        licence="not stated",
        citation="not stated",
        class_count=len(sizes),
        image_count=len(found),
        class_sizes=(min(sizes), max(sizes)),
        large=len(found) > LARGE,
        state=state,
    )


def find_images(root: Path) -> list[ImageFile]:
    """Lists the images of a folder, class after class, in the order of their names.

    Raises:
        UserError: as :func:`folder_dataset` says.
        OSError: something in it cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"folder:{root}: there is no such folder.")
    if Path.cwd().is_relative_to(root.resolve()):
        raise UserError(f"folder:{root}: holds the working directory, and so its results; name the images' own folder.")
    parts = _parts(root)
    names = {part: _subfolders(folder) for part, folder in parts.items()}
    seen = {(state.st_dev, state.st_ino) for state in map(os.stat, [root.resolve(), *root.resolve().parents])}
    found = [
        ImageFile(path, path.relative_to(root).as_posix(), name, part)
        for part, folder in sorted(parts.items(), key=lambda pair: pair[1].name)
        for name in names[part]
        for path in _images_of_class(root, folder / name, seen)
    ]
    return found


def _parts(root: Path) -> dict[str | None, Path]:
    """Finds the folders of the official parts; a folder without parts is one, whose key is ``None``."""
    names = _subfolders(root)
    known = {name: PARTS[name.lower()] for name in names if name.lower() in PARTS}
    others = [name for name in names if name not in known]
    if not known or (others and len(known) == 1 and not _is_part(root / next(iter(known)))):
        return {None: root}
    if others:
        listing = f"{', '.join(known)} beside {', '.join(others[:3])}{', …' * (len(others) > 3)}"
        raise UserError(f"folder:{root}: has {listing}; allowed: classes, or parts with classes in them, not both.")
    if len(set(known.values())) < len(known):
        raise UserError(f"folder:{root}: has {', '.join(known)}, of which two are the same part; rename one.")
    if "train" not in known.values():
        raise UserError(f"folder:{root}: has {', '.join(known)} but no train.")
    return {part: root / name for name, part in known.items()}


def _is_part(folder: Path) -> bool:
    """Tells a part, which has folders of classes, from a class that is called like one."""
    with os.scandir(folder) as entries:
        return bool(_subfolders(folder)) and not any(entry.name.lower().endswith(ENDINGS) for entry in entries)


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
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images_of_class(root: Path, folder: Path, seen: set[tuple[int, int]]) -> list[Path]:
    """Lists a class's images, sorted.

    Raises:
        UserError: there are none, or one of them is not a file; its folders were seen before, as links lead to them.
    """
    found = sorted(_images_below(root, folder, seen))
    if not found:
        listing = f"no image that can be read ({', '.join(ENDINGS)})"
        raise UserError(f"folder:{root}: the class {folder.name!r} has {listing} in {folder}; fill or remove it.")
    return found


def _images_below(root: Path, start: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    folders = [start]
    while folders:
        folder = folders.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in seen:
            raise UserError(f"folder:{root}: {folder} is a link to a folder that is read anyway: {folder.resolve()}.")
        seen.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            # Among the hidden ones is what desktops leave: .DS_Store, ._photo.jpg.
            for entry in (entry for entry in entries if not entry.name.startswith(".")):
                _check_name(root, entry)
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif entry.name.lower().endswith(ENDINGS):
                    _check_file(root, entry)
                    yield Path(entry.path)


def _check_name(root: Path, entry: os.DirEntry[str]) -> None:
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        raise UserError(f"folder:{root}: {os.fsencode(entry.path)!r}: the name is not UTF-8; rename it.") from None


def _check_file(root: Path, entry: os.DirEntry[str]) -> None:
    if not entry.is_file():
        what = "not a file" if Path(entry.path).exists() else "a link that leads nowhere"
        raise UserError(f"folder:{root}: {entry.path} is {what}; remove it.")


def _check(root: Path, found: list[ImageFile], few_shot: bool) -> None:
    names = {image.label for image in found}
    if len(names) < 2:
        where = "below train" if any(image.part for image in found) else "in it"
        listing = f"found {len(names)} with images ({', '.join(ENDINGS)})"
        raise UserError(f"folder:{root}: at least two classes are needed, a sub-folder each, {where}; {listing}.")
    if not few_shot:
        check_class_sizes(f"folder:{root}", [image.label for image in found], [image.part for image in found])
        return
    part_of: dict[str, str | None] = {}
    for image in found:
        if part_of.setdefault(image.label, image.part) != image.part:
            told = f"the class {image.label!r} is in two parts, {part_of[image.label]} and {image.part}"
            raise UserError(f"folder-fs:{root}: {told}; parts of a few-shot set have classes of their own.")
