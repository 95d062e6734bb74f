"""The ``labels`` stage: a prepared data set in which some labels of the training part are wrong."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.data.prepared import rows_by_part
from clce_bench.files import read_json, sha256_of, staged, write_json
from clce_bench.seeds import seed_for


def spoil_labels(spec: dict[str, Any], inputs: dict[str, Path], output: Path) -> None:
    """Writes what the ``dataset`` stage does, with wrong labels: ``items.parquet`` (the right ones are ``true_label``),
    ``dataset.json``, and the same ``images.npy`` if there is one.

    Args:
        spec: ``dataset``, ``fold``, ``test_fold`` (the part that tests), ``label_noise`` and ``seed``.
        inputs: the JSON files of ``dataset`` and ``splits``.
        output: the folder to fill.
    """
    prepared = inputs["dataset"].parent
    items, description = pd.read_parquet(prepared / "items.parquet"), read_json(inputs["dataset"])
    train = rows_by_part(inputs["splits"], spec["fold"], spec["test_fold"])["train"]
    rng = np.random.Generator(np.random.PCG64(seed_for("label noise", dataset=spec["dataset"], seed=spec["seed"])))
    labels = items["label"].to_numpy()
    noisy = wrong_labels(labels, train, spec["label_noise"], rng)
    names = np.array(description["classes"])
    items = items.assign(label=noisy, true_label=labels).assign(**{"class": names[noisy]})
    with staged(output, last="dataset.json") as folder:
        items.to_parquet(folder / "items.parquet", index=False)
        checksums = {**description["sha256"], "items.parquet": sha256_of(folder / "items.parquet")}
        if (prepared / "images.npy").exists():
            _share(prepared / "images.npy", folder / "images.npy")
        wrong = {"wrong_labels": int((noisy != labels).sum()), "training_images": len(train)}
        write_json(folder / "dataset.json", {**description, **wrong, "sha256": checksums})


def wrong_labels(
    labels: NDArray[np.int64], train: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Gives a share of each class's training images the label of another class of training, any with equal probability.

    An image that has a wrong label at one share has the same one at all larger shares.

    Args:
        labels: of all images, (images,).
        train: rows of the training part; all others keep their labels.
        share: in [0, 1), of each class, rounded to whole images; one image stays right.
        rng: draws a rank and another class for every image, whichever of them train.

    Returns:
        The labels, (images,).
    """
    ranks, others = rng.random(len(labels)), rng.random(len(labels))
    noisy = labels.copy()
    classes = np.unique(labels[train])
    for label in classes:
        own = train[labels[train] == label]
        chosen = own[np.argsort(ranks[own], kind="stable")][: min(round(share * len(own)), len(own) - 1)]
        away = classes[classes != label]
        noisy[chosen] = away[(others[chosen] * len(away)).astype(int)]
    return noisy


def _share(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system cannot do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
