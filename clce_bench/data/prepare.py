"""The ``dataset`` stage: decodes a data set once, to arrays that training maps from disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.data.dataset import Dataset
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.registry import load_dataset


def prepare_dataset(spec: dict[str, Any], output: Path) -> None:
    """Writes ``images.npy``, ``items.parquet`` and ``dataset.json``.

    Args:
        spec: ``dataset`` (a name) and ``size`` (pixels).
        output: the folder to fill.

    Raises:
        UserError: an image is missing or cannot be decoded.
    """
    dataset: Dataset = load_dataset(spec["dataset"])
    images = dataset.read(spec["size"])
    classes = sorted(set(images.classes))
    items = pd.DataFrame(
        {
            "id": images.ids,
            "label": pd.Categorical(images.classes, categories=classes).codes.astype("int64"),
            "class": images.classes,
            "group": merge_identical(images.pixels, images.groups),
        }
    )
    with staged(output, last="dataset.json") as folder:
        np.save(folder / "images.npy", images.pixels)
        items.to_parquet(folder / "items.parquet", index=False)
        description = {
            "name": dataset.name,
            "size": spec["size"],
            "images": len(items),
            "groups": items["group"].nunique(),
            "classes": classes,
            "source": dataset.source,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "sha256": {name: sha256_of(folder / name) for name in ("images.npy", "items.parquet")},
        }
        write_json(folder / "dataset.json", description)


def merge_identical(pixels: np.ndarray, groups: list[str]) -> list[str]:
    """Joins groups that share an image to the pixel, so that no copy can be in training and in test.

    Args:
        pixels: (images, …), any type.
        groups: the group of each image.

    Returns:
        The groups, each named after its alphabetically first member.
    """
    leader = {group: group for group in groups}

    def find(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    first_with: dict[bytes, str] = {}
    for image, group in zip(pixels, groups, strict=True):
        one, other = sorted((find(group), find(first_with.setdefault(image.tobytes(), group))))
        leader[other] = one
    return [find(group) for group in groups]
