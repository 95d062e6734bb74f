"""OpenClipart's drawings by topic, from Debian's package ``openclipart-png``.

A topic is a folder of the second level (``animals/birds``) with everything below it; what is on the first level is
of no particular topic. A drawing that is in two topics belongs to neither, and a copy within a topic counts once.
"""

import hashlib
import re
import struct
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from clce_bench.data.dataset import Dataset, File, ImageFile, Images
from clce_bench.data.debian_packages import from_debian
from clce_bench.data.fetch import data_folder
from clce_bench.errors import UserError

NAME = "openclipart"
PAGE = "https://packages.debian.org/openclipart-png"
SMALLEST_CLASS = 20
# Not an address: apt finds the package; the size is that of version 1:0.18+dfsg-19.
FILES = (File("openclipart-png", ("apt:openclipart-png",), size=130_910_028, unpacked="png"),)
MOST_PIXELS = 30_000_000
"""Larger drawings, of up to 623 million pixels, are left out."""

# Collections by style or by chance, and 1,378 stars that a program drew: no topics.
_NOT_TOPICS = {"unsorted", "special", "computer/icons", "shapes/stars"}
_SERIES = re.compile(r"_*\d+_*$")


def read_openclipart(size: int) -> Images:
    """Lists the drawings of all topics with at least 20 names.

    Numbered drawings of one name (``cat_jane_01``, ``cat_jane_02``) are near-copies and share a group; a series of
    symbols (``fc01`` to ``fc28``) is one name.

    Args:
        size: not used: the ``dataset`` stage decodes the files.

    Raises:
        UserError: the package cannot be had.
    """
    folder = _folder()
    copies: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*/**/*.png")):
        content = path.read_bytes()
        if _topic(path, folder) and _pixels(content) <= MOST_PIXELS:
            copies[hashlib.sha256(content).hexdigest()].append(path)
    found = [paths[0] for paths in copies.values() if len({_topic(path, folder) for path in paths}) == 1]
    group_of = {path: f"{_topic(path, folder)}/{_SERIES.sub('', path.stem)}" for path in sorted(found)}
    names = Counter(group.rpartition("/")[0] for group in set(group_of.values()))
    return Images.of_files(
        ImageFile(path, path.relative_to(folder).with_suffix("").as_posix(), topic, group=group)
        for path, group in group_of.items()
        if names[topic := _topic(path, folder)] >= SMALLEST_CLASS
    )


def _folder() -> Path:
    placed = data_folder() / NAME / FILES[0].unpacked
    folder = placed if placed.is_dir() else from_debian(FILES[0].name, "openclipart/png", placed)
    if not folder:
        how = f"Unpack Debian's package openclipart-png ({PAGE}) and put its folder usr/share/openclipart/png there"
        raise UserError(f"{placed}: there is no such folder, and apt-get could not download the package. {how}.")
    return folder


def _topic(path: Path, folder: Path) -> str:
    first, second = path.relative_to(folder).parts[:2]
    topic = f"{first}/{second}"
    return "" if {first, topic} & _NOT_TOPICS else topic


def _pixels(png: bytes) -> int:
    width, height = struct.unpack(">II", png[16:24])
    return int(width * height)


OPENCLIPART = Dataset(
    name=NAME,
    images=NAME,
    task="classification",
    read=read_openclipart,
    train_images=1199,
    source="Debian's package openclipart-png, drawings from openclipart.org",
    licence="public domain",
    citation="Open Clip Art Library 0.18, openclipart.org",
    files=FILES,
    page=PAGE,
    class_count=28,
    image_count=2020,
)
OPENCLIPART_FEW_SHOT = replace(OPENCLIPART, name="openclipart-fs", task="few-shot", train_images=1265)
