"""Detection of images of another data set: how often a score ranks a test image before an outlier."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from clce_bench.data.prepared import PreparedDataset
from clce_bench.evaluation.fewshot import unit_length
from clce_bench.evaluation.measured import NOT_FINITE, Measured, at_most
from clce_bench.experiment.cells import dataset_directory
from clce_bench.inference.trained_cell import BATCH, TrainedCell
from clce_bench.measures.measure import Embedded, per_image
from clce_bench.measures.neighbours import NEIGHBOURS

OUTLIERS = 10_000
"""Images of the other data set, at most; of larger ones a random part, the same for all cells."""

Scores = dict[str, NDArray[np.float64]]


def measure_outliers(cell: Embedded) -> Measured:
    """Measures ``auroc_SCORE_DATASET``, the area under the ROC curve: test images against all of the other data set."""
    other = PreparedDataset(cell.paths["other"].parent)
    features, logits = outputs_of(TrainedCell(cell.directory), other)
    if not np.isfinite(features).all():
        return Measured({}, {}, {"outliers": NOT_FINITE})
    test = cell.images.test
    both = None if cell.logits is None or logits is None else np.concatenate([cell.logits[test], logits])
    found = scores(cell, np.concatenate([cell.features[test], features]), both)
    name = dataset_directory(other.description["name"])
    shares = {f"auroc_{score}_{name}": ranked_above(*np.split(values, [len(test)])) for score, values in found.items()}
    return per_image(shares, cell.test_units)


def outputs_of(
    trained: TrainedCell, dataset: PreparedDataset
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Computes features, rounded as training stores them, and logits of (a random part of) a data set's images."""
    rows = at_most(OUTLIERS, len(dataset.items), "outliers")
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            images = torch.stack([trained.transform(dataset.image(row)) for row in rows[start : start + BATCH]])
            embedded, scored = trained.module(images.to(trained.device))
            features.append(embedded.cpu().numpy().astype(np.float16).astype(np.float32))
            logits += [] if scored is None else [scored.cpu().numpy()]
    return np.concatenate(features), np.concatenate(logits) if logits else None


def scores(cell: Embedded, features: NDArray[np.float32], logits: NDArray[np.float32] | None) -> Scores:
    """Scores images by how much they look like the classes of training: the higher, the more.

    ``softmax``: the largest probability (Hendrycks and Gimpel, arXiv 1610.02136). ``energy``: its negative, the
    log-sum-exp of the logits (Liu et al., arXiv 2010.03759). ``mahalanobis``: minus the squared distance to the nearest
    class mean, by one covariance of all classes (Lee et al., arXiv 1807.03888), shrunk (Ledoit and Wolf, 2004), for
    features are more than images. ``neighbour``: minus the distance to the fifth nearest training image, features of
    unit length (Sun et al., arXiv 2204.06507).

    Args:
        cell: whose training part says what is known.
        features: (rows, d).
        logits: (rows, classes); the first two scores need them.

    Returns:
        By score, (rows,).
    """
    train, labels = cell.features[cell.images.train].astype(float), cell.images.labels[cell.images.train]
    classes, members = np.unique(labels, return_inverse=True)
    means = np.stack([train[labels == label].mean(axis=0) for label in classes])
    # Divided by the root of the shared covariance, distances are Euclidean.
    shared = LedoitWolf(assume_centered=True, store_precision=False).fit(train - means[members])
    root = cholesky(shared.covariance_, lower=True)
    distances = cdist(*(solve_triangular(root, rows.T, lower=True).T for rows in (features, means)), "sqeuclidean")
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train))).fit(unit_length(train))
    found = {"mahalanobis": -distances.min(axis=1), "neighbour": -nearest.kneighbors(unit_length(features))[0][:, -1]}
    if logits is None:
        return found
    return {"softmax": softmax(logits, axis=1).max(axis=1), "energy": logsumexp(logits, axis=1), **found}


def ranked_above(own: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of outliers that each test image scores above, ties half: their mean is the AUROC, (images,).

    Args:
        own: scores of test images, (images,).
        theirs: scores of outliers, (outliers,).
    """
    ordered = np.sort(theirs)
    places = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
    shares: NDArray[np.float64] = places / (2 * len(ordered))
    return shares
