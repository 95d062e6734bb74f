"""The ``splits`` stage: which images train, which choose settings, which are read once at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.config import Split
from clce_bench.data.dataset import Dataset
from clce_bench.errors import UserError
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.registry import load_dataset
from clce_bench.seeds import seed_for

PARTS = ("train", "validation", "test")


def make_splits(spec: dict[str, Any], items: Path, output: Path) -> None:
    """Writes ``splits.parquet`` (columns ``id``, ``part``) and ``splits.json``.

    Args:
        spec: ``dataset``, ``size`` and ``split``, the values of :class:`clce_bench.config.Split`.
        items: the data set's ``items.parquet``.
        output: the folder to fill.
    """
    dataset: Dataset = load_dataset(spec["dataset"])
    frame = pd.read_parquet(items)
    split = Split.model_validate(spec["split"])
    rng = np.random.default_rng(seed_for("split", dataset=dataset.name, split=split.seed))
    divide = divide_classes if dataset.task == "few-shot" else divide_images
    labels, groups = frame["label"].to_numpy(), frame["group"].to_numpy()
    testing = divide(labels, groups, [1 - split.test, split.test], rng) == 1
    folds = divide(labels[~testing], groups[~testing], [1 / split.folds] * split.folds, rng)
    frame["part"] = "test"
    frame.loc[~testing, "part"] = np.where(folds == split.fold, "validation", "train")
    with staged(output, last="splits.json") as folder:
        frame[["id", "part"]].to_parquet(folder / "splits.parquet", index=False)
        description = {
            **spec,
            "task": dataset.task,
            "images": {part: int((frame["part"] == part).sum()) for part in PARTS},
            "classes": {part: sorted(frame.loc[frame["part"] == part, "class"].unique()) for part in PARTS},
            "sha256": {"splits.parquet": sha256_of(folder / "splits.parquet")},
        }
        write_json(folder / "splits.json", description)


def divide_images(
    labels: NDArray[np.int64], groups: NDArray[Any], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Divides the images of every class by the same shares, keeping each group on one side.

    Args:
        labels: class of each image, (images,).
        groups: group of each image, (images,).
        shares: share of each part; their sum is 1.
        rng: decides the order in which groups are dealt out.

    Returns:
        The part of each image, (images,), in [0, number of shares).
    """
    counts = np.bincount(labels).clip(min=1)
    room = counts[:, None] * np.array(shares)
    parts = np.empty(len(labels), dtype=np.int64)
    names, members = np.unique(groups, return_inverse=True)
    sizes = np.bincount(members)
    # Large groups first: what is left then evens out the shares.
    for group in sorted(rng.permutation(len(names)), key=lambda group: -sizes[group]):
        inside = np.flatnonzero(members == group)
        needed = np.bincount(labels[inside], minlength=len(counts))
        # The share of its classes that a part still lacks, small classes counting as much as large ones; where parts
        # lack about the same, the share of all images decides.
        lacking = (needed / counts) @ room + 0.01 * room.sum(axis=0) / len(labels)
        part = int(np.argmax(lacking / np.array(shares)))
        room[:, part] -= needed
        parts[inside] = part
    return parts


def divide_classes(
    labels: NDArray[np.int64], groups: NDArray[Any], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Divides the classes, so that parts have no class in common; classes that share near-copies stay together.

    Args:
        labels: class of each image, (images,).
        groups: group of each image, (images,).
        shares: share of the classes of each part; their sum is 1.
        rng: decides the order of the classes.

    Returns:
        The part of each image, (images,), in [0, number of shares).

    Raises:
        UserError: a part would be left without classes.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    bundle = np.arange(len(classes))
    for group in np.unique(groups):
        together = np.unique(bundle[numbers[groups == group]])
        bundle[np.isin(bundle, together)] = together[0]
    room = len(classes) * np.array(shares)
    part_of = np.empty(len(classes), dtype=np.int64)
    names, sizes = np.unique(bundle, return_counts=True)
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    for name in sorted(rng.permutation(names).tolist(), key=lambda name: -size_of[name]):
        part = int(np.argmax(room))
        room[part] -= size_of[name]
        part_of[bundle == name] = part
    if len(np.unique(part_of)) < len(shares):
        raise UserError(f"split: {len(names)} classes cannot be divided into {len(shares)} parts.")
    return part_of[numbers]
