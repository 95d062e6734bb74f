"""Robustness to common corruptions: accuracy on test images with noise, blur, weather and digital artefacts."""

import numpy as np
import torch
from numpy.typing import NDArray

from clce_bench.evaluation.measured import NOT_FINITE, Measured
from clce_bench.files import read_json
from clce_bench.inference.trained_cell import TrainedCell
from clce_bench.measures.measure import Embedded, per_image

IMAGES_AT_ONCE = 16
"""Each with all of its corruptions."""


def measure_corruptions(cell: Embedded) -> Measured:
    """Measures ``corruption_top1``, the accuracy over all corruptions, and that over each family of them.

    What is right or wrong is the mean over an image's corruptions.
    """
    path = cell.paths["corruptions"]
    description, rows = read_json(path), np.load(path.with_name("rows.npy"))
    inputs = np.load(path.with_name("inputs.npy"), mmap_mode="r")
    test = cell.images.test[np.isin(cell.rows[cell.images.test], rows)]
    scores = scores_of(TrainedCell(cell.directory), inputs, np.searchsorted(rows, cell.rows[test]))
    if not np.isfinite(scores).all():
        return Measured({}, {}, {"corruptions": NOT_FINITE})
    classes = np.unique(cell.images.labels[cell.images.train])
    right = classes[scores.argmax(axis=2)] == cell.images.labels[test, None]
    names = description["corruptions"]
    shares = {"corruption_top1": right.mean(axis=1)} | {
        f"corruption_{family}_top1": right[:, np.isin(names, members)].mean(axis=1)
        for family, members in description["families"].items()
    }
    return per_image(shares, np.unique(cell.images.groups[test], return_inverse=True)[1])


def scores_of(trained: TrainedCell, inputs: NDArray[np.generic], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Computes logits, or where there is no classifier those of the linear probe, (images, corruptions, classes).

    Args:
        trained: the cell.
        inputs: what its trained part takes, (stored images, corruptions, …).
        places: of the images in it.
    """
    found = []
    with torch.inference_mode():
        for start in range(0, len(places), IMAGES_AT_ONCE):
            values = torch.from_numpy(inputs[places[start : start + IMAGES_AT_ONCE]])
            features, logits, _ = trained.module.head(values.flatten(0, 1).to(trained.device))
            if logits is None:
                weights, biases = trained.probe
                # Rounded as what the probe was fitted to.
                logits = torch.from_numpy(features.half().float().cpu().numpy() @ weights + biases)
            found.append(logits.cpu().unflatten(0, values.shape[:2]))
    return torch.cat(found).numpy()
