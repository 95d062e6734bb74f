"""The ``splits`` stage: which images train, which choose settings, which are read once at the end."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.components.registry import load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.data.prepared import TRAINING
from clce_bench.errors import UserError
from clce_bench.experiment.schema import Split
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.seeds import seed_for

POOL, LEAKED = TRAINING
PARTS = (POOL, "validation", "test", "unused")


def make_splits(spec: dict[str, Any], items: Path, output: Path) -> None:
    """Writes ``splits.parquet`` (columns ``id``, ``part``, ``fold``) and ``splits.json``: one artifact for all folds.

    Official parts are used where there are any. A missing test part is set apart from the training part; a missing
    validation part is made of folds of the rest, which are numbered in ``fold``. ``fold`` is −1 for images that are in
    no fold. A re-split of another data set's images uses none of that set's parts.

    Args:
        spec: ``dataset``, ``size`` and ``split``, the values of :class:`clce_bench.experiment.schema.Split` but for
            ``fold``; ``hazards`` if there are any.
        items: the data set's ``items.parquet``.
        output: the folder to fill.

    Raises:
        UserError: the data set cannot be divided as asked.
    """
    dataset: Dataset = load_dataset(spec["dataset"])
    frame = pd.read_parquet(items)
    leaky = "leaky-split" in spec.get("hazards", [])
    frame["part"], frame["fold"] = divide(frame, dataset, Split.model_validate(spec["split"]), leaky)
    with staged(output, last="splits.json") as folder:
        frame[["id", "part", "fold"]].to_parquet(folder / "splits.parquet", index=False)
        pool, test = frame["part"] == POOL, frame["part"] == "test"
        description = {
            **spec,
            "task": dataset.task,
            "images": {part: int((frame["part"] == part).sum()) for part in (*PARTS, *([LEAKED] if leaky else []))},
            "folds": np.bincount(frame.loc[frame["fold"] >= 0, "fold"]).tolist(),
            "classes": {part: sorted(frame.loc[frame["part"] == part, "class"].unique()) for part in PARTS},
            "near_copies_of_test": int(frame.loc[pool, "group"].isin(frame.loc[test, "group"]).sum()),
            "sha256": {"splits.parquet": sha256_of(folder / "splits.parquet")},
        }
        write_json(folder / "splits.json", description)


def divide(
    items: pd.DataFrame, dataset: Dataset, split: Split, leaky: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Gives each image its part and its fold.

    Args:
        items: a row per image: ``label``, ``class``, ``group`` and ``part``, the official part or nothing.
        dataset: says whether images or classes are divided, and whether the official parts are its own.
        split: the shares.
        leaky: a hazard: draw the training part anew from all images, test images and near-copies of them included.

    Returns:
        Part, one of :data:`PARTS` (in a leaky split also :data:`LEAKED`), and fold, −1 for images that never validate
        or train; each (images,).

    Raises:
        UserError: there are too few classes, ``images_per_class`` leaves nothing out, or official parts cannot leak.
    """
    rng = np.random.default_rng(seed_for("split", dataset=dataset.name, split=split.seed))
    deal = divide_classes if dataset.task == "few-shot" else divide_images
    labels, groups = items["label"].to_numpy(), items["group"].to_numpy()
    parts = np.full(len(items), POOL, dtype=object)
    if dataset.name == dataset.images and items["part"].notna().all():
        parts = np.where(items["part"] == "train", POOL, items["part"].to_numpy(object))
    if leaky and (dataset.task == "few-shot" or {"test", "validation"} & set(parts)):
        allowed = "Allowed: on data sets for classification whose parts are drawn here"
        raise UserError(f"hazards: leaky-split is not allowed: {dataset.name} has parts of its own. {allowed}.")
    if "test" not in parts:
        pool = np.flatnonzero(parts == POOL)
        testing = deal(labels[pool], groups[pool], [1 - split.test, split.test], rng) == 1
        parts[pool[testing]] = "test"
    if leaky:
        # Drawn like the test part and independently of it. The test part is that of the honest split.
        groups = np.arange(len(items))
        chance = np.random.Generator(np.random.PCG64(seed_for("leaky split", dataset=dataset.name, split=split.seed)))
        training = deal(labels, groups, [1 - split.test, split.test], chance) == 0
        tested = parts == "test"
        parts = np.where(training, np.where(tested, LEAKED, POOL), np.where(tested, "test", "unused")).astype(object)
    pool = np.flatnonzero(np.isin(parts, TRAINING))
    folds = np.full(len(items), -1)
    if "validation" not in parts:
        folds[pool] = deal(labels[pool], groups[pool], [1 / split.folds] * split.folds, rng)
    if split.images_per_class:
        # Folds of images take their share of each class; validation classes and official parts take nothing.
        share = 1 if dataset.task == "few-shot" or "validation" in parts else split.folds / (split.folds - 1)
        chooser = np.random.Generator(np.random.PCG64(seed_for("subset", dataset=dataset.name, split=split.seed)))
        kept = first_of_each_class(labels[pool], folds[pool], ceil(split.images_per_class * share), chooser)
        if kept.all():
            largest = np.bincount(labels[pool]).max()
            raise UserError(
                f"split.images_per_class: {split.images_per_class} is not allowed: it would leave nothing out; the "
                f"largest class of {dataset.name} has {largest} images to train on and to validate with."
            )
        dropped = pool[~kept]
        parts[dropped], folds[dropped] = np.where(parts[dropped] == LEAKED, "test", "unused"), -1
    if dataset.task == "classification":
        _check_classes(items["class"].to_numpy(), parts, folds, dataset.name)
    return parts, folds


def _check_classes(classes: NDArray[Any], parts: NDArray[Any], folds: NDArray[np.int64], name: str) -> None:
    """Refuses a split in which a class has nothing to train on when one of the folds validates."""
    names, numbers = np.unique(classes, return_inverse=True)
    for fold in range(max(folds.max(), 0) + 1):
        training = np.bincount(numbers[np.isin(parts, TRAINING) & (folds != fold)], minlength=len(names))
        if not training.all():
            few = f"the class {names[training.argmin()]!r} has too few distinct images"
            raise UserError(f"{name}: {few}: in fold {fold} none is left to train on. Near-copies stay together.")


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
    inside_of = np.split(np.argsort(members, kind="stable"), np.cumsum(sizes)[:-1])
    # Large groups first: what is left then evens out the shares.
    for group in sorted(rng.permutation(len(names)), key=lambda group: -sizes[group]):
        inside = inside_of[group]
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
    classes_of = pd.Series(numbers).groupby(groups).unique()
    for shared in classes_of[classes_of.str.len() > 1]:
        together = np.unique(bundle[shared])
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


def first_of_each_class(
    labels: NDArray[np.int64], folds: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Keeps the first images of every class in a random order that takes one of each fold in turn.

    So what is kept of a class lies in all folds alike, and what a smaller ``count`` keeps, a larger one keeps too.

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
