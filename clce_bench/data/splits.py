"""The ``splits`` stage: which images train, which choose settings, which are read once at the end."""

from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.components.registry import load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.data.dealing import divide_classes, divide_images, first_of_each_class
from clce_bench.data.prepared import LEAKED, POOL, TRAINING, Division
from clce_bench.errors import UserError
from clce_bench.experiment.dataset_options import Split
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.seeds import seed_for

PARTS = (POOL, "validation", "test", "unused")


def make_splits(spec: dict[str, Any], items: Path, output: Path) -> None:
    """Writes ``splits.parquet`` (``id`` and what :class:`Division` says of each image) and ``splits.json``.

    One artifact serves all folds and all parts that test in turn. Official parts are used where there are any. A
    missing test part is set apart from the training part, or that is divided into parts that test in turn; a missing
    validation part is made of folds of the rest. A re-split of another data set's images uses none of that set's parts.

    Args:
        spec: ``dataset``, ``size`` and ``split``, the values of
            :class:`clce_bench.experiment.dataset_options.Split` but for those that say which part does what;
            ``hazards`` if there are any.
        items: the data set's ``items.parquet``.
        output: the folder to fill.

    Raises:
        UserError: the data set cannot be divided as asked.
    """
    dataset: Dataset = load_dataset(spec["dataset"])
    leaky = "leaky-split" in spec.get("hazards", [])
    frame = pd.read_parquet(items)
    frame = frame.assign(**divide(frame, dataset, Split.model_validate(spec["split"]), leaky)._asdict())
    with staged(output, last="splits.json") as folder:
        frame[["id", *Division._fields]].to_parquet(folder / "splits.parquet", index=False)
        pool, apart = frame["part"] == POOL, frame.groupby("group")["test_fold"].transform("nunique") > 1
        tested = frame[frame["test_fold"] >= 0].groupby("test_fold")["class"]
        description = {
            **spec,
            "task": dataset.task,
            "images": {part: int((frame["part"] == part).sum()) for part in (*PARTS, *([LEAKED] if leaky else []))},
            "folds": np.bincount(frame.loc[frame["fold"] >= 0, "fold"]).tolist(),
            "test_folds": tested.size().tolist(),
            "classes": {part: sorted(frame.loc[frame["part"] == part, "class"].unique()) for part in PARTS},
            "novel_classes": [sorted(names.unique()) for _, names in tested] if dataset.task == "few-shot" else [],
            "near_copies_of_test": int((pool & apart).sum()),
            "sha256": {"splits.parquet": sha256_of(folder / "splits.parquet")},
        }
        write_json(folder / "splits.json", description)


def divide(items: pd.DataFrame, dataset: Dataset, split: Split, leaky: bool = False) -> Division:
    """Says of each image what it is for.

    Args:
        items: a row per image: ``label``, ``class``, ``group`` and ``part``, the official part or nothing.
        dataset: says whether images or classes are divided, and whether the official parts are its own.
        split: the shares.
        leaky: a hazard: draw the training part anew from all images, test images and near-copies of them included.

    Raises:
        UserError: there are too few classes or images, ``images_per_class`` leaves nothing out, or official parts
            cannot leak or test in turn.
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
    turns, tests, pool = split.cross_fitting, np.where(parts == "test", 0, -1), np.flatnonzero(parts == POOL)
    if turns and "test" in parts:
        key = "class_folds" if split.class_folds else "test_folds"
        raise UserError(f"split.{key}: {turns} is not allowed: {dataset.name} has an official test part.")
    if turns:
        tests[pool] = deal(labels[pool], groups[pool], [1 / turns] * turns, rng)
    elif "test" not in parts:
        testing = deal(labels[pool], groups[pool], [1 - split.test, split.test], rng) == 1
        parts[pool[testing]], tests[pool[testing]] = "test", 0
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
        # Of one part that tests after the other, so that the folds are even whichever of these is left out.
        stages = tests[pool] if turns else np.zeros(len(pool), dtype=np.int64)
        folds[pool] = deal(labels[pool], groups[pool], [1 / split.folds] * split.folds, rng, stages)
    if split.images_per_class:
        strata = folds[pool] + (split.folds * tests[pool] if turns else 0)
        dropped = pool[~_kept(labels[pool], strata, dataset, split, folded="validation" not in parts)]
        parts[dropped] = np.where((parts[dropped] == LEAKED) | bool(turns), "test", "unused")
        folds[dropped] = -1
    division = Division(parts, folds, tests)
    _check_training(division, items["class"].to_numpy(), dataset, split)
    return division


def _kept(
    labels: NDArray[np.int64], strata: NDArray[np.int64], dataset: Dataset, split: Split, folded: bool
) -> NDArray[np.bool_]:
    """Chooses what ``images_per_class`` keeps of the pool, (images of the pool,)."""
    assert split.images_per_class
    share = 1.0
    if dataset.task == "classification":
        # Folds and parts of images take their share of each class; validation classes and official parts take nothing.
        for count in (split.folds if folded else 0, split.cross_fitting):
            share *= count / (count - 1) if count else 1
    own = {} if split.subset_seed is None else {"subset": split.subset_seed}
    seed = seed_for("subset", dataset=dataset.name, split=split.seed, **own)
    chooser = np.random.Generator(np.random.PCG64(seed))
    kept = first_of_each_class(labels, strata, ceil(round(split.images_per_class * share, 9)), chooser)
    if kept.all():
        raise UserError(
            f"split.images_per_class: {split.images_per_class} is not allowed: it would leave nothing out; the largest "
            f"class of {dataset.name} has {np.bincount(labels).max()} images to train on and to validate with."
        )
    return kept


def _check_training(division: Division, classes: NDArray[Any], dataset: Dataset, split: Split) -> None:
    """Refuses a split that, for one of its folds, leaves nothing of a class to train on, or no class at all."""
    names, numbers = np.unique(classes, return_inverse=True)
    for testing, fold in product(range(split.cross_fitting or 1), range(max(division.fold.max(), 0) + 1)):
        rows = division.rows(fold, testing)
        place = f"when part {testing} tests and fold {fold} validates" if split.cross_fitting else f"in fold {fold}"
        if dataset.task == "few-shot":
            if not len(rows["train"]) or not len(rows["validation"]):
                raise UserError(f"{dataset.name}: {len(names)} classes are too few: none is left {place}.")
            continue
        training = np.bincount(numbers[rows["train"]], minlength=len(names))
        if not training.all():
            few = f"the class {names[training.argmin()]!r} has too few distinct images"
            raise UserError(f"{dataset.name}: {few}: {place} none is left to train on. Near-copies stay together.")
