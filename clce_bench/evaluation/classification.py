"""Accuracy and calibration of classifiers, from scores and labels."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from clce_bench.evaluation.fewshot import unit_length


def in_top(scores: NDArray[np.float32], truth: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Says for each row whether the true class is among the k highest scores, (rows,).

    Of equal scores the first counts as the highest, as for ``argmax``: a classifier that says the same of all classes
    guesses. A row with NaN is wrong.

    Args:
        scores: (rows, classes).
        truth: column of the true class, (rows,).
        k: how many guesses.
    """
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    before = (scores == own) & (np.arange(scores.shape[1]) < truth[:, None])
    found: NDArray[np.bool_] = (((scores > own) | before).sum(axis=1) < k) & ~np.isnan(scores).any(axis=1)
    return found


def log_losses(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Computes the negative log-likelihood of each true class, in nats, (rows,).

    Args:
        logits: (rows, classes).
        truth: column of the true class, (rows,).
    """
    logs = log_softmax(logits.astype(float), axis=1)
    losses: NDArray[np.float64] = -np.take_along_axis(logs, truth[:, None], axis=1)[:, 0]
    return losses


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Finds the temperature by which logits must be divided to be most likely (Guo et al., arXiv 1706.04599).

    Args:
        logits: of images that the classifier was not trained on, (rows, classes).
        truth: column of the true class, (rows,).

    Returns:
        A value in [0.01, 100].
    """
    # In the inverse temperature the loss is convex; its logarithm keeps the one minimum.
    found = minimize_scalar(
        lambda exponent: log_losses(logits * np.exp(-exponent), truth).mean(),
        bounds=(np.log(0.01), np.log(100)),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration_error(logits: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15) -> float:
    """Computes the expected calibration error (Guo et al., arXiv 1706.04599) in equally wide bins of confidence.

    Args:
        logits: (rows, classes).
        truth: column of the true class, (rows,).
        bins: how many.

    Returns:
        The mean gap between confidence and accuracy, in [0, 1].
    """
    probabilities = softmax(logits.astype(float), axis=1)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def nearest_class_mean(
    train: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Classifies by the nearest mean of the L2-normalised training features (Mensink et al., TPAMI 2013).

    Args:
        train: (images, d).
        labels: their classes, (images,).
        test: (rows, d).

    Returns:
        The label of each test row, (rows,).
    """
    classes, members = np.unique(labels, return_inverse=True)
    means = np.zeros((len(classes), train.shape[1]), dtype=np.float32)
    np.add.at(means, members, unit_length(train))
    means /= np.bincount(members)[:, None]
    scores = 2 * unit_length(test) @ means.T - (means**2).sum(axis=1)
    predicted: NDArray[np.int64] = classes[scores.argmax(axis=1)]
    return predicted


def per_class(correct: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Averages over the images of each class, (classes,).

    Args:
        correct: one per image.
        labels: the class of each image, in [0, classes); every class occurs.
    """
    means: NDArray[np.float64] = np.bincount(labels, correct) / np.bincount(labels)
    return means
