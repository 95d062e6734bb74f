"""The ``dataset`` stage: decodes a data set once, to arrays that training maps from disk."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from clce_bench.components.registry import load_dataset
from clce_bench.data.class_sizes import check_class_sizes
from clce_bench.data.dataset import Dataset, Images
from clce_bench.data.decode import DamagedImage, Decoded, decode
from clce_bench.errors import UserError
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.machine import usable_cores

CHUNK = 512
"""Files decoded between two writes: bounds the memory."""


def prepare_dataset(spec: dict[str, Any], output: Path) -> None:
    """Writes ``items.parquet``, ``dataset.json`` and, unless the data set is large, ``images.npy``.

    Args:
        spec: ``dataset`` (a name), ``size`` (pixels) and ``corrupt``: ``stop`` (the default) or ``skip``.
        output: the folder to fill.

    Raises:
        UserError: an image cannot be used and is not to be skipped, a class is left with too few, or these are not
            all images of the data set.
    """
    dataset: Dataset = load_dataset(spec["dataset"])
    images = dataset.read(spec["size"])
    _check_counts(dataset, images)
    with staged(output, last="dataset.json") as folder:
        array = None if dataset.large else folder / "images.npy"
        contents, skipped = _store(images, spec, array)
        items = _table(images, contents, set(skipped))
        if skipped:
            _check_left(dataset, images, items)
        if dataset.large:
            items["file"] = [str(path) for row, path in enumerate(images.pixels) if row not in skipped]
        items.to_parquet(folder / "items.parquet", index=False)
        description = {
            "name": dataset.name,
            "size": spec["size"],
            "images": len(items),
            "groups": items["group"].nunique(),
            "classes": sorted(items["class"].unique()),
            "class_sizes": [int(size) for size in items["class"].value_counts().agg(["min", "max"])],
            "source": dataset.source,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "skipped": [{"id": images.ids[row], "reason": reason} for row, reason in skipped.items()],
            "content": hashlib.sha256("".join(contents).encode()).hexdigest(),
            "sha256": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        }
        write_json(folder / "dataset.json", description)


def _check_counts(dataset: Dataset, images: Images) -> None:
    """Compares what was read with what the data set is known to have: a part of it is another data set."""
    for what, known, found in (
        ("images", dataset.image_count, len(images.ids)),
        ("classes", dataset.class_count, len(set(images.classes))),
    ):
        if known and found != known:
            files = f" Look into the files that it was read from ({dataset.page})." if dataset.page else ""
            raise UserError(f"{dataset.name}: {found:,} {what} were found instead of {known:,}.{files}")


def _check_left(dataset: Dataset, images: Images, items: pd.DataFrame) -> None:
    """Checks the classes after damaged images were left out."""
    lost = sorted(set(images.classes) - set(items["class"]))
    if lost:
        raise UserError(f"{dataset.name}: no image of the class {lost[0]!r} can be used.")
    if dataset.task == "classification":
        check_class_sizes(dataset.name, items["class"].tolist(), items["part"].tolist())


def _store(images: Images, spec: dict[str, Any], array: Path | None) -> tuple[list[str], dict[int, str]]:
    """Writes the pixels to ``array`` if there is one.

    Returns:
        A checksum of each image that can be used, and by row why others cannot: of pixels where those are stored, so
        that pictures which look the same have the same, else of files.
    """
    if isinstance(images.pixels, np.ndarray):
        if array:
            np.save(array, images.pixels)
        return [_checksum(image) for image in images.pixels], {}
    pixels, size = None, spec["size"]
    if array:
        shape = (len(images.pixels), size, size, 3)
        pixels = np.lib.format.open_memmap(array, mode="w+", dtype=np.uint8, shape=shape)
    contents: list[str] = []
    skipped: dict[int, str] = {}
    for row, found in enumerate(decode_all(images.pixels, size)):
        if isinstance(found, DamagedImage):
            if spec.get("corrupt") != "skip":
                way_out = f"Replace the file, or set datasets.{spec['dataset']}.corrupt: skip to leave such images out"
                raise UserError(f"{found}. {way_out}.")
            skipped[row] = str(found)
            continue
        if pixels is not None:
            pixels[len(contents)] = found.pixels
        contents.append(found.checksum if pixels is None else _checksum(found.pixels))
    if not contents:
        raise UserError(f"{spec['dataset']}: none of the {len(images.ids)} images can be used: {skipped[0]}.")
    if array and pixels is not None and skipped:
        np.save(array.with_name("kept.npy"), pixels[: len(contents)])
        array.with_name("kept.npy").replace(array)
    return contents, skipped


def decode_all(paths: list[Path], size: int) -> Iterator[Decoded | DamagedImage]:
    """Decodes image files on all cores, with a progress bar in a terminal.

    Threads do: Pillow lets go of Python's lock while it decodes and scales.

    Yields:
        The content of each file in order, or why it cannot be used.
    """

    def attempt(path: Path) -> Decoded | DamagedImage:
        try:
            return decode(path, size)
        except DamagedImage as error:
            return error

    starts = range(0, len(paths), CHUNK)
    with ThreadPoolExecutor(usable_cores()) as threads:
        found = (result for start in starts for result in threads.map(attempt, paths[start : start + CHUNK]))
        yield from track(found, "Decoding images", len(paths), console=Console(stderr=True))


def _checksum(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _table(images: Images, contents: list[str], skipped: set[int]) -> pd.DataFrame:
    frame = pd.DataFrame({"id": images.ids, "class": images.classes, "group": images.groups, "part": images.parts})
    frame = frame.drop(index=list(skipped)).reset_index(drop=True)
    frame["label"] = pd.Categorical(frame["class"], categories=sorted(set(frame["class"]))).codes.astype("int64")
    frame["group"] = merge_identical(contents, frame["group"])
    return frame[["id", "label", "class", "group", "part"]]


def merge_identical(contents: Iterable[str], groups: Iterable[str]) -> list[str]:
    """Joins groups that share an image, so that no copy can be in training and in test.

    Args:
        contents: a checksum of each image: equal for copies to the pixel or, for large data sets, of the file.
        groups: the group of each image.

    Returns:
        The groups, each named after its alphabetically first member.
    """
    groups = list(groups)
    leader = {group: group for group in groups}

    def find(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    first_with: dict[str, str] = {}
    for content, group in zip(contents, groups, strict=True):
        one, other = sorted((find(group), find(first_with.setdefault(content, group))))
        leader[other] = one
    return [find(group) for group in groups]
