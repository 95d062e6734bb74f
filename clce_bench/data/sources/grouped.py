"""A folder whose images belong together by a pattern in the experiment file: ``datasets.X.groups``.

Stages know it by a name of its own, ``grouped:`` and JSON, from :func:`grouped_name`.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from clce_bench.data.dataset import Dataset, Images
from clce_bench.data.sources.folder import folder_dataset
from clce_bench.data.sources.folder_tables import tables_of
from clce_bench.errors import UserError
from clce_bench.files import canonical_json


def grouped_name(dataset: str, pattern: str) -> str:
    """Returns the name of a folder with these groups."""
    return f"grouped:{canonical_json({'dataset': dataset, 'groups': pattern})}"


def grouped_dataset(name: str) -> Dataset:
    """Describes the data set in a folder, with groups by a pattern; it is called as without them.

    Args:
        name: from :func:`grouped_name`.

    Raises:
        UserError: as for the folder, or the pattern does not fit its files.
    """
    asked = json.loads(name.partition(":")[2])
    own = folder_dataset(asked["dataset"])

    def read(size: int) -> Images:
        images = own.read(size)
        return replace(images, groups=groups_of(own.name, images, asked["groups"]))

    return replace(own, read=read)


def check_groups(dataset: Dataset, pattern: str) -> None:
    """Checks that a pattern says of each image of a data set to which group it belongs.

    Raises:
        UserError: it does not, the data set is no folder, or its folder has groups already.
    """
    kind, _, path = dataset.name.partition(":")
    if kind not in ("folder", "folder-fs"):
        raise UserError(f"datasets.{dataset.name}.groups: {pattern!r} is not allowed. Allowed: with folder:PATH alone.")
    tables = [table.name for table in tables_of(Path(path)) if table.stem == "groups"]
    if tables:
        raise UserError(f"datasets.{dataset.name}.groups: the folder has {tables[0]}; remove the one or the other.")
    groups_of(dataset.name, dataset.read(0), pattern)


def groups_of(name: str, images: Images, pattern: str) -> list[str]:
    """Finds the group of each image: the pattern's parenthesis in its path below the folder.

    Args:
        name: of the data set, for messages.
        images: whose ids are their paths.
        pattern: a regular expression with one group.

    Raises:
        UserError: it finds nothing in a path, or a group is in two official parts.
    """
    found = [_group(name, path, pattern) for path in images.ids]
    part_of: dict[str, str] = {}
    for path, group, part in _with_parts(images, found):
        if part_of.setdefault(group, part) != part:
            parts = f"{part_of[group]} and {part}"
            raise UserError(f"datasets.{name}.groups: the group {group!r} is in two parts, {parts} ({path}).")
    return found


def _group(name: str, path: str, pattern: str) -> str:
    match = re.search(pattern, path)
    if not match or not match[1]:
        raise UserError(f"datasets.{name}.groups: {pattern!r} finds nothing in {path}; each image needs a group.")
    return match[1]


def _with_parts(images: Images, groups: list[str]) -> Iterable[tuple[str, str, str]]:
    return zip(images.ids, groups, images.parts or [""] * len(groups), strict=True)
