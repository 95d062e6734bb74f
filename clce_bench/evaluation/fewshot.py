"""Few-shot classification of episodes on frozen features, many episodes at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import spotrf, spotri

from clce_bench.data.episodes import EpisodeSet

CHUNK = 12
"""Episodes at a time: bounds the memory of the gathered features and keeps them in the processor's cache."""
TOLERANCE, STEPS = 1e-5, 500
"""Logistic regression stops when no logit of the support moves by more than this, or after so many steps."""


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales the last axis to unit length; zeros stay zeros."""
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-12)
    return unit


def nearest_centroid(
    features: NDArray[np.float32],
    episodes: EpisodeSet,
    support: NDArray[np.float32] | None = None,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Classifies queries by the nearest mean of the support features.

    Centroids are plain means, distances Euclidean: prototypical networks' rule (Snell et al., arXiv 1703.05175).

    Args:
        features: (images, d), of the queries; of the support too unless ``support`` is given.
        episodes: rows of images.
        support: several views of each image, (views, images, d); all of them enter the means.
        normalise: scale features to unit length first.

    Returns:
        The share of right answers in each episode and class, (episodes, way), in [0, 1].
    """
    scaled = unit_length if normalise else np.asarray
    unit = scaled(features)
    means = unit if support is None else scaled(support).mean(axis=0)
    accuracies = np.empty(episodes.support.shape[:2])
    for chunk in _chunks(len(accuracies)):
        centroids = means[episodes.support[chunk]].mean(axis=2)
        queries = unit[episodes.query[chunk]].reshape(len(centroids), -1, unit.shape[1])
        scores = 2 * queries @ centroids.transpose(0, 2, 1) - (centroids**2).sum(axis=2)[:, None, :]
        accuracies[chunk] = _accuracy(scores, episodes)
    return accuracies


def logistic_regression(
    features: NDArray[np.float32],
    episodes: EpisodeSet,
    support: NDArray[np.float32] | None = None,
    strength: float = 1.0,
    normalise: bool = True,
) -> NDArray[np.float64]:
    """Fits multinomial logistic regression to the support of each episode and classifies its queries.

    The objective is scikit-learn's ``LogisticRegression(C=strength)``: the sum of the
    cross-entropies times C, plus half the squared norm of the weights; the intercept is free.

    The solution is in the span of the support, so an episode is a problem of its n support rows whatever d is. The
    Hessian of the cross-entropies is at most half the identity (Böhning, Annals of the Institute of Statistical
    Mathematics 44, 1992), so each step fits a ridge regression to working responses: one matrix per episode, computed
    once, times (n, way).

    Args:
        features: (images, d), of the queries; of the support too unless ``support`` is given.
        episodes: rows of images.
        support: several views of each image, (views, images, d); each is a row of its own to be fitted.
        strength: scikit-learn's ``C``, > 0.
        normalise: scale features to unit length first.

    Returns:
        The share of right answers in each episode and class, (episodes, way), in [0, 1].
    """
    scaled = unit_length if normalise else np.asarray
    unit = scaled(features)
    views = unit[None] if support is None else scaled(support)
    pool = views.reshape(-1, unit.shape[1])
    count, way, _ = episodes.support.shape
    shifts = np.arange(len(views)) * len(unit)
    rows = (episodes.support[..., None] + shifts).reshape(count, -1)
    targets = np.repeat(np.eye(way, dtype=np.float32), rows.shape[1] // way, axis=0)
    accuracies = np.empty((count, way))
    for chunk in _chunks(count):
        samples = pool[rows[chunk]]
        coefficients, intercepts = fit(samples, targets, strength)
        weights = samples.transpose(0, 2, 1) @ coefficients
        queries = unit[episodes.query[chunk].reshape(len(samples), -1)]
        accuracies[chunk] = _accuracy(queries @ weights + intercepts, episodes)
    return accuracies


def fit(
    samples: NDArray[np.float32], targets: NDArray[np.float32], inverse_strength: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fits each episode's classifier.

    Args:
        samples: the support, (episodes, n, d).
        targets: its classes, one-hot, the same for all episodes, (n, way).
        inverse_strength: scikit-learn's ``C``, > 0.

    Returns:
        The weights as combinations of the samples, (episodes, n, way), and intercepts (episodes, 1, way).
    """
    # For two classes scikit-learn has one vector of weights, the difference of our two: its penalty is twice as large.
    strength = np.float32(inverse_strength / 2 if targets.shape[1] == 2 else inverse_strength)
    kernel = samples @ samples.transpose(0, 2, 1)
    ridge = _inverse(kernel / 2 + np.eye(kernel.shape[1], dtype=np.float32) / strength)
    # The free intercept makes the coefficients of each class sum to zero.
    sums = ridge.sum(axis=2)
    ridge -= sums[:, :, None] * (sums / sums.sum(axis=1, keepdims=True))[:, None, :]
    logits = np.zeros((len(samples), *targets.shape), dtype=np.float32)
    for _ in range(STEPS):
        probabilities = np.exp(logits - logits.max(axis=2, keepdims=True))
        probabilities /= probabilities.sum(axis=2, keepdims=True)
        responses = targets - probabilities + logits / 2
        coefficients = ridge @ responses
        previous, logits = logits, 2 * (responses - coefficients / strength)
        if np.abs(logits - previous).max() < TOLERANCE:
            break
    return coefficients, (logits - kernel @ coefficients).mean(axis=1, keepdims=True)


def _inverse(matrices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverts symmetric positive definite matrices in place, (k, n, n): several times as fast as ``np.linalg.inv``."""
    for matrix in matrices:
        # LAPACK counts in columns: what it calls the lower triangle is the upper one here. It clears the other.
        factor, _ = spotrf(matrix.T, lower=1, overwrite_a=1)
        spotri(factor, lower=1, overwrite_c=1)
    matrices += np.triu(matrices, 1).transpose(0, 2, 1)
    return matrices


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _accuracy(scores: NDArray[np.float32], episodes: EpisodeSet) -> NDArray[np.float64]:
    """Compares scores (episodes, way · queries, way) with the truth, (episodes, way)."""
    _, way, queries = episodes.query.shape
    correct = scores.argmax(axis=2).reshape(-1, way, queries) == np.arange(way)[:, None]
    return np.asarray(correct.mean(axis=2), dtype=np.float64)
