"""Dealing out images or classes by shares, near-copies on one side; choosing some of each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.errors import UserError


def divide_images(
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    shares: Sequence[float],
    rng: np.random.Generator,
    stages: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Divides the images of every class by the same shares, keeping each group on one side.

    Args:
        labels: class of each image, (images,).
        groups: group of each image, (images,).
        shares: share of each part; their sum is 1.
        rng: decides the order in which groups are dealt out.
        stages: what is dealt out together, (images,), the same for all of a group: each stage is divided by the shares,
            and so are all of them together. All at once when not given.

    Returns:
        The part of each image, (images,), in [0, number of shares).
    """
    counts = np.bincount(labels).clip(min=1)
    room = np.zeros((len(counts), len(shares)))
    parts = np.empty(len(labels), dtype=np.int64)
    names, members = np.unique(groups, return_inverse=True)
    sizes = np.bincount(members)
    inside_of = np.split(np.argsort(members, kind="stable"), np.cumsum(sizes)[:-1])
    order = rng.permutation(len(names))
    stages = np.zeros(len(labels), dtype=np.int64) if stages is None else stages
    stage_of = np.array([stages[inside[0]] for inside in inside_of])
    for stage in np.unique(stage_of):
        # What an earlier stage gave a part too much of, it gets less of now.
        room += np.bincount(labels[stages == stage], minlength=len(counts)).clip(min=1)[:, None] * np.array(shares)
        # Large groups first: what is left then evens out the shares.
        for group in sorted(order[stage_of[order] == stage], key=lambda group: -sizes[group]):
            inside = inside_of[group]
            needed = np.bincount(labels[inside], minlength=len(counts))
            # The share of its classes that a part still lacks, small classes counting as much as large ones; where
            # parts lack about the same, the share of all images decides.
            lacking = (needed / counts) @ room + 0.01 * room.sum(axis=0) / len(labels)
            part = int(np.argmax(lacking / np.array(shares)))
            room[:, part] -= needed
            parts[inside] = part
    return parts


def divide_classes(
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    shares: Sequence[float],
    rng: np.random.Generator,
    stages: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Divides the classes, so that parts have no class in common; classes that share near-copies stay together.

    Args:
        labels: class of each image, (images,).
        groups: group of each image, (images,).
        shares: share of the classes of each part; their sum is 1.
        rng: decides the order of the classes.
        stages: as for :func:`divide_images`, the same for all of a class.

    Returns:
        The part of each image, (images,), in [0, number of shares).

    Raises:
        UserError: a part would be left without classes.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    bundle = np.arange(len(classes))
    classes_of = pd.Series(numbers).groupby(groups).unique()
    for shared in classes_of[classes_of.str.len() > 1]:
        together = np.unique(bundle[shared])
        bundle[np.isin(bundle, together)] = together[0]
    room = np.zeros(len(shares))
    part_of = np.empty(len(classes), dtype=np.int64)
    names, firsts, sizes = np.unique(bundle, return_index=True, return_counts=True)
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    own = np.zeros(len(labels), dtype=np.int64) if stages is None else stages
    stage_of = dict(zip(names.tolist(), own[np.unique(numbers, return_index=True)[1]][firsts].tolist(), strict=True))
    order = rng.permutation(names).tolist()
    for stage in sorted(set(stage_of.values())):
        inside = [name for name in order if stage_of[name] == stage]
        room += sum(size_of[name] for name in inside) * np.array(shares)
        for name in sorted(inside, key=lambda name: -size_of[name]):
            part = int(np.argmax(room))
            room[part] -= size_of[name]
            part_of[bundle == name] = part
    if len(np.unique(part_of)) < len(shares):
        raise UserError(f"split: {len(names)} classes cannot be divided into {len(shares)} parts.")
    return part_of[numbers]


def first_of_each_class(
    labels: NDArray[np.int64], folds: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Keeps the first images of every class in a random order that takes one of each fold in turn.

    So what is kept of a class is in all folds alike, and what a smaller ``count`` keeps, a larger one keeps too.

    Args:
        labels: class of each image, (images,).
        folds: fold of each image, (images,).
        count: images to keep of each class, or all that it has.
        rng: decides the order; ``count`` has no influence on it.

    Returns:
        Which images are kept, (images,).
    """
    frame = pd.DataFrame({"label": labels, "fold": folds, "chance": rng.random(len(labels))}).sort_values(
        "chance", kind="stable"
    )
    frame["turn"] = frame.groupby(["label", "fold"]).cumcount()
    place = frame.sort_values(["turn", "chance"]).groupby("label").cumcount()
    return (place < count).sort_index().to_numpy()
