"""Geometry of embeddings on the unit sphere: similarities of pairs, spread, separation of the classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 100
EDGES = np.linspace(-1, 1, BINS + 1)
BLOCK = 512
"""Rows whose similarities to all others are held at once."""


class Pairs(NamedTuple):
    """What all pairs of embeddings say.

    Attributes:
        positive: counts of cosine similarities within each class, (classes, BINS); each pair counts in both orders.
        negative: counts of those between a class's images and all others, (classes, BINS); likewise.
        positive_mean: mean cosine similarity of positive pairs.
        negative_mean: of negative pairs.
        alignment: mean squared distance of positive pairs (Wang and Isola, arXiv 2005.10242, exponent 2).
        uniformity: log mean exp(−2 · squared distance) over all pairs (the same paper, t = 2).
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    positive_mean: float
    negative_mean: float
    alignment: float
    uniformity: float


def pairs(unit: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> Pairs:
    """Looks at every pair of embeddings, in blocks.

    Args:
        unit: L2-normalised, (images, d).
        labels: the class of each image, in [0, classes).
        classes: how many there are.
    """
    counts = np.zeros((2, classes, BINS), dtype=np.int64)
    sums, spread = np.zeros(2), 0.0
    for start in range(0, len(unit), BLOCK):
        rows = slice(start, start + BLOCK)
        cosines = (unit[rows] @ unit.T).clip(-1, 1)
        same = labels[rows, None] == labels
        diagonal = np.arange(len(cosines)), np.arange(start, start + len(cosines))
        bins = np.minimum(((cosines + 1) * (BINS / 2)).astype(np.int64), BINS - 1)
        cells = (~same * classes + labels[rows, None]) * BINS + bins
        found = np.bincount(cells.ravel(), minlength=counts.size)
        found -= np.bincount(cells[diagonal], minlength=counts.size)  # A row is no pair with itself.
        counts += found.reshape(counts.shape)
        itself = cosines[diagonal]
        within = cosines.sum(where=same, dtype=float)
        sums += within - itself.sum(dtype=float), cosines.sum(dtype=float) - within
        spread += np.exp(4 * (cosines - 1)).sum(dtype=float) - np.exp(4 * (itself - 1)).sum(dtype=float)
    positives, negatives = counts.sum(axis=(1, 2))
    positive_mean, negative_mean = float(sums[0] / positives), float(sums[1] / negatives)
    total = positives + negatives
    return Pairs(
        counts[0], counts[1], positive_mean, negative_mean, 2 - 2 * positive_mean, float(np.log(spread / total))
    )


def silhouette(unit: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Computes the mean silhouette coefficient for the cosine distance, without looking at pairs.

    The mean cosine distance to a class is one minus the product with the class's mean.

    Args:
        unit: L2-normalised, (images, d).
        labels: the class of each image, any integers.

    Returns:
        A value in [−1, 1]; images that are alone in their class, and equal ones, count as 0.
    """
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), unit.shape[1]))
    np.add.at(sums, labels, unit)
    rows = np.arange(len(unit))
    distances = sizes - unit @ sums.T
    inside = distances[rows, labels] / (sizes[labels] - 1).clip(1)
    distances /= sizes
    distances[rows, labels] = np.inf
    nearest = distances.min(axis=1)
    farther = np.maximum(nearest, inside)
    counted = (sizes[labels] > 1) & (farther > 0)
    return float(np.divide(nearest - inside, farther, out=np.zeros(len(unit)), where=counted).mean())


def principal_variances(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the variances along the principal axes, (d,), in descending order; zeros where the rank ends.

    Args:
        features: (images, d).
    """
    centred = features - features.mean(axis=0, dtype=float).astype(np.float32)
    images, d = centred.shape
    product = centred.T @ centred if d <= images else centred @ centred.T
    variances = np.zeros(d)
    values = np.linalg.eigvalsh(product.astype(float))[::-1].clip(0) / (images - 1)
    variances[: len(values)] = values
    return variances


def isoscore(variances: NDArray[np.float64]) -> float:
    """Computes IsoScore (Rudman et al., "IsoScore: Measuring the Uniformity of Embedding Space Utilization", ACL 2022).

    Args:
        variances: along the principal axes, (d,), d > 1.

    Returns:
        1 when all directions vary alike, 0 when one direction has all the variance.
    """
    d = len(variances)
    scaled = d**0.5 * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - 1) / (2 * (d - d**0.5)) ** 0.5
    share = (d - defect**2 * (d - d**0.5)) ** 2 / d**2
    return float((d * share - 1) / (d - 1))


def effective_rank(variances: NDArray[np.float64]) -> float:
    """Computes the effective rank (Roy and Vetterli, EUSIPCO 2007): exp of the entropy of the singular values.

    Args:
        variances: along the principal axes, (d,): squared singular values of the centred features but for a factor.

    Returns:
        A value in [1, d].
    """
    shares = np.sqrt(variances)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
