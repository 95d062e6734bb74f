"""What a user's folder says of its images beside their classes: which belong together, and which part each is of.

Three files at its top, each optional: ``groups.csv`` (columns ``file`` and ``group``), or ``groups.txt`` with a regular
expression that finds the group in a file's path; and ``part.csv`` (``file`` and ``part``).
"""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from clce_bench.data.dataset import ImageFile
from clce_bench.errors import UserError, unknown

TABLES = ("groups.csv", "groups.txt", "part.csv")


def tables_of(root: Path) -> list[Path]:
    """Lists those of the files that a folder has."""
    return [root / name for name in TABLES if (root / name).is_file()]


def with_tables(root: Path, images: list[ImageFile], parts: Mapping[str, str]) -> list[ImageFile]:
    """Gives images the groups and parts that the folder's files say.

    Args:
        root: the folder.
        images: its images, whose ids are their paths below it.
        parts: official part, by what it may be called.

    Raises:
        UserError: a file cannot be read, names no image of the folder, leaves out an image's part, or a group is in two
            parts.
    """
    names = [image.id for image in images]
    if (root / "part.csv").is_file():
        if any(image.part for image in images):
            raise UserError(f"{root / 'part.csv'}: the folders are parts already; remove the one or the other.")
        part_of = _read(root / "part.csv", "part", names)
        if missing := [name for name in names if name not in part_of]:
            raise UserError(
                f"{root / 'part.csv'}: the part of {missing[0]} is missing, and of {len(missing) - 1} others."
            )
        for name, part in part_of.items():
            if part.lower() not in parts:
                raise UserError(f"{root / 'part.csv'}: {name}: {unknown('a part', part, parts)}")
        images = [image._replace(part=parts[part_of[image.id].lower()]) for image in images]
    groups = _groups(root, names)
    images = [image._replace(group=groups.get(image.id, "")) for image in images]
    _check_apart(root, images)
    return images


def _groups(root: Path, names: list[str]) -> dict[str, str]:
    table, pattern = root / "groups.csv", root / "groups.txt"
    if table.is_file() and pattern.is_file():
        raise UserError(f"{root}: has groups.csv and groups.txt; remove one of them.")
    if table.is_file():
        return _read(table, "group", names)
    if not pattern.is_file():
        return {}
    try:
        finder = re.compile(pattern.read_text(encoding="utf-8").strip())
    except (re.error, ValueError, OSError) as error:
        raise UserError(f"{pattern}: not a regular expression: {error}.") from None
    found = {name: match[1 if finder.groups else 0] for name in names if (match := finder.search(name))}
    if not any(found.values()):
        raise UserError(f"{pattern}: {finder.pattern!r} finds nothing in any path, such as {names[0]}.")
    return {name: group for name, group in found.items() if group}


def _read(table: Path, column: str, names: Iterable[str]) -> dict[str, str]:
    """Reads a table of two columns, ``file`` and another one."""
    known, found = set(names), {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"file", column} <= set(rows.fieldnames or ()):
                raise UserError(f"{table}: columns file and {column} are needed; found {rows.fieldnames}.")
            for row in rows:
                name, value = row["file"], (row[column] or "").strip()
                place = f"{table}: line {rows.line_num}"
                if name not in known:
                    raise UserError(
                        f"{place}: {unknown('an image of the folder', name, known, 'Paths start below it')}"
                    )
                if not value or name in found:
                    raise UserError(f"{place}: {name} has {'two rows' if value else f'no {column}'}.")
                found[name] = value
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read: {error}.") from None
    return found


def _check_apart(root: Path, images: list[ImageFile]) -> None:
    part_of: dict[str, str | None] = {}
    for image in images:
        if image.group and part_of.setdefault(image.group, image.part) != image.part:
            raise UserError(
                f"folder:{root}: the group {image.group!r} is in two parts, {part_of[image.group]} and {image.part} "
                f"({image.id}); groups are to be on one side."
            )
