"""Accuracy and calibration on classes that occur in training: classifier, linear probe, nearest class mean."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.evaluation.classification import (
    calibration_error,
    fit_temperature,
    in_top,
    log_losses,
    nearest_class_mean,
    per_class,
)
from clce_bench.evaluation.measured import NOT_FINITE, Measured, at_most
from clce_bench.evaluation.probe import linear_probe

PROBE_IMAGES = 200_000
"""Images, at most, to which the linear probe is fitted; of larger sets a random part."""
_CLASSIFIER = ("top1", "balanced_top1", "nll", "nll_scaled", "ece", "ece_scaled", "temperature", "train_top1")


class Images(NamedTuple):
    """The stored images of a cell: their places in its arrays by part, and what is known of each.

    Attributes:
        train: places of the training part.
        validation: likewise.
        test: likewise.
        labels: (images,).
        groups: of near-copies, (images,).
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[Any]


def stored_images(rows: NDArray[np.int64], items: pd.DataFrame, parts: dict[str, NDArray[np.int64]]) -> Images:
    """Looks up the images whose embeddings are stored.

    Args:
        rows: of the data set, as stored.
        items: the data set's table of images.
        parts: rows of ``train``, ``validation`` and ``test``.
    """
    train, validation, test = (np.flatnonzero(np.isin(rows, parts[part])) for part in ("train", "validation", "test"))
    return Images(train, validation, test, items["label"].to_numpy()[rows], items["group"].to_numpy(dtype=str)[rows])


def classify(features: NDArray[np.float32], logits: NDArray[np.float32] | None, images: Images) -> Measured:
    """Measures all classifiers on the test part.

    Args:
        features: of all stored images.
        logits: likewise; nothing where no classifier was trained.
        images: what they are.
    """
    train, validation, test, labels, _ = images
    metrics: dict[str, float] = {}
    absent: dict[str, str] = {}
    arrays: dict[str, NDArray[Any]] = {}
    correct: dict[str, NDArray[np.bool_]] = {}
    groups = np.unique(images.groups[test], return_inverse=True)[1]
    if logits is not None and not np.isfinite(logits).all():
        absent = dict.fromkeys(_CLASSIFIER, NOT_FINITE)
    elif logits is not None:
        columns = np.unique(labels[train])
        truth = np.searchsorted(columns, labels)
        known = validation[np.isin(labels[validation], columns)]
        correct["top1"] = in_top(logits[test], truth[test], 1)
        if len(columns) > 5:
            correct["top5"] = in_top(logits[test], truth[test], 5)
        metrics["train_top1"] = float(in_top(logits[train], truth[train], 1).mean())
        temperature = fit_temperature(logits[known], truth[known]) if len(known) else 1.0
        metrics["temperature"] = temperature
        for name, scaled in {"": logits[test], "_scaled": logits[test] / np.float32(temperature)}.items():
            losses = log_losses(scaled, truth[test])
            metrics |= {f"nll{name}": float(losses.mean()), f"ece{name}": calibration_error(scaled, truth[test])}
            arrays |= {f"outcome.nll{name}": losses.astype(np.float32), f"unit.nll{name}": groups}
    fitted = np.sort(np.concatenate([train, validation]))
    fitted = fitted[at_most(PROBE_IMAGES, len(fitted), "probe")]
    probe = linear_probe(features[fitted], labels[fitted], images.groups[fitted])
    correct["probe_top1"] = probe.predict(features[test]) == labels[test]
    means = nearest_class_mean(features[train], labels[train], features[test])
    correct["ncm_top1"] = means == labels[test]
    numbers = np.unique(labels[test], return_inverse=True)[1]
    for name, outcomes in correct.items():
        metrics[name] = float(outcomes.mean())
        arrays |= {f"outcome.{name}": outcomes, f"unit.{name}": groups}
        if name != "top5":
            classes = per_class(outcomes, numbers)
            metrics[f"balanced_{name}"] = float(classes.mean())
            arrays |= {f"outcome.balanced_{name}": classes, f"unit.balanced_{name}": np.arange(len(classes))}
            arrays[f"class_{name}"] = classes
    if logits is None:  # The probe is then what the cell classifies with.
        arrays |= {f"probe_{name}": array for name, array in probe._asdict().items() if name != "strength"}
    return Measured(metrics, arrays, absent, probe)
