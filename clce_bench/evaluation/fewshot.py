"""Few-shot classification of episodes on frozen features, many episodes at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import sposv

from clce_bench.data.episodes import EpisodeSet

CHUNK = 32
"""Episodes at a time: bounds the memory of the gathered features and keeps them in the processor's cache."""
TOLERANCE, STEPS = 1e-4, 200
"""Logistic regression of an episode ends when no logit of its support would move by more than this share of the largest
one; few need a tenth of so many steps."""
JITTER = 1e-5
LEAST_WEIGHT = 1e-6
"""Of a row of the support whose class is certain."""


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

    The solution is in the span of the support, so an episode is a problem of its n support rows whatever d is.

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
    """Fits each episode's classifier, by nonlinear conjugate gradients.

    The preconditioner is the ridge regression of iteratively reweighted least squares. The weight of a row is a bound
    of the largest eigenvalue of its softmax Hessian (Gershgorin), the same for all classes: one matrix per episode
    instead of one per class. Unlike a bound that holds everywhere (Böhning, Annals of the Institute of Statistical
    Mathematics 44, 1992) it stays close where rows are told apart well, as large features allow.

    Args:
        samples: the support, (episodes, n, d).
        targets: its classes, one-hot, the same for all episodes, (n, way).
        inverse_strength: scikit-learn's ``C``, > 0.

    Returns:
        The weights as combinations of the samples, (episodes, n, way), and intercepts (episodes, 1, way).
    """
    # For two classes scikit-learn has one vector of weights, the difference of our two: its penalty is twice as large.
    strength = inverse_strength / 2 if targets.shape[1] == 2 else inverse_strength
    # The free intercept makes coefficients sum to zero, so that the middle of the support matters to rounding alone.
    middle = samples.mean(axis=1, keepdims=True)
    centred = samples - middle
    single = centred @ centred.transpose(0, 2, 1)
    # More rows than dimensions: this much more on the diagonal keeps it positive definite in spite of rounding.
    diagonal = np.einsum("enn->en", single)
    diagonal += JITTER * diagonal.mean(axis=1, keepdims=True)
    kernel, truth = single.astype(np.float64), targets.T.astype(np.float64)
    logits, coefficients, before, direction, along = np.zeros((5, len(samples), *truth.shape))
    unfinished, last = np.ones(len(samples), dtype=bool), -np.ones((len(samples), 1, 1))
    for _ in range(STEPS):
        probabilities = _softmax(logits)
        gradient = strength * (probabilities - truth) + coefficients
        downhill, shift = _ridge(single, unfinished, gradient, strength * probabilities * (1 - probabilities))
        change = downhill @ kernel + shift
        unfinished = np.abs(change).max(axis=(1, 2)) > TOLERANCE * np.abs(logits).max(axis=(1, 2))
        if not unfinished.any():
            break
        descent = _dot(gradient, change)
        # Polak and Ribière's, started anew where it does not lead down.
        memory = np.clip((descent - _dot(gradient, before)) / last, 0, 1)
        memory *= _dot(gradient, change + memory * along) < 0.1 * descent
        direction, along = downhill + memory * direction, change + memory * along
        before, last = change, np.minimum(descent, -1e-30)
        # One step of Newton's method along the direction, corrected by the slope that is found there.
        slope = _dot(gradient, along)
        mean = (probabilities * along).sum(axis=1, keepdims=True)
        curvature = strength * (_dot(probabilities, along**2) - _dot(mean, mean)) + _dot(direction, along)
        step = unfinished[:, None, None] * -slope / np.maximum(curvature, 1e-30)
        there = strength * (_softmax(logits + step * along) - truth) + coefficients + step * direction
        turn = _dot(there, along) - slope
        step *= np.where(turn > 0, np.clip(-slope / np.maximum(turn, 1e-30), 0.05, 4), 1)
        coefficients, logits = coefficients + step * direction, logits + step * along
    intercepts = (logits - coefficients @ kernel).mean(axis=2, keepdims=True)
    intercepts -= coefficients @ (samples @ middle.transpose(0, 2, 1))
    weights, intercepts = coefficients.transpose(0, 2, 1), intercepts.transpose(0, 2, 1)
    return weights.astype(np.float32), intercepts.astype(np.float32)


def _ridge(
    kernel: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    gradient: NDArray[np.float64],
    hessian: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solves for the changes of the coefficients, (episodes, way, n), and of the intercepts, (episodes, way, 1).

    Args:
        kernel: products of the samples, (episodes, n, n).
        chosen: the episodes that need it; the others get no change.
        gradient: of the objective, by the logits, (episodes, way, n).
        hessian: its diagonal without the penalty, likewise.
    """
    roots = np.sqrt(np.maximum(2 * hessian.max(axis=1, keepdims=True), LEAST_WEIGHT))
    sides = np.concatenate([-gradient / roots, roots], axis=1).astype(np.float32)
    scales = roots.astype(np.float32)
    for place in np.flatnonzero(chosen):
        matrix = kernel[place] * (scales[place] * scales[place].T)
        matrix.flat[:: len(matrix) + 1] += 1
        # LAPACK counts in columns: it gets transposes, and copies nothing.
        sides[place] = sposv(matrix.T, sides[place].T, lower=1, overwrite_a=1)[1].T
    found = sides * roots
    plain, ones = found[:, :-1], found[:, -1:]
    shift = chosen[:, None, None] * plain.sum(axis=2, keepdims=True) / ones.sum(axis=2, keepdims=True)
    change = chosen[:, None, None] * (plain - ones * shift)
    return change - change.mean(axis=2, keepdims=True), shift


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns logits into probabilities over the classes, (episodes, way, n)."""
    shares: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiplies and adds up within each episode, (episodes, 1, 1)."""
    return np.asarray((one * other).sum(axis=(1, 2), keepdims=True))


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _accuracy(scores: NDArray[np.float32], episodes: EpisodeSet) -> NDArray[np.float64]:
    """Compares scores (episodes, way · queries, way) with the truth, (episodes, way)."""
    _, way, queries = episodes.query.shape
    correct = scores.argmax(axis=2).reshape(-1, way, queries) == np.arange(way)[:, None]
    return np.asarray(correct.mean(axis=2), dtype=np.float64)
