"""A linear classifier on frozen features: multinomial logistic regression, its strength chosen by cross-validation."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from clce_bench.data.dealing import divide_images
from clce_bench.seeds import seed_for

INVERSE_STRENGTHS = tuple(float(f"{10**exponent:.3g}") for exponent in np.arange(-3, 1.01, 0.5))
"""scikit-learn's ``C``: two values per power of ten, from 0.001 to 10."""
FOLDS = 3
ONE_FOLD = 20_000
"""From so many images on, one fold alone says enough about a strength."""


class LinearProbe(NamedTuple):
    """A linear classifier from features to labels.

    Attributes:
        weights: (d, classes).
        biases: (classes,).
        labels: of the columns, (classes,), in ascending order.
        strength: scikit-learn's ``C``.
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    labels: NDArray[np.int64]
    strength: float

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Computes the logits of features (rows, d): (rows, classes)."""
        return features @ self.weights + self.biases

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Returns the label of each of the features (rows, d): (rows,)."""
        predicted: NDArray[np.int64] = self.labels[self.scores(features).argmax(axis=1)]
        return predicted


def linear_probe(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[Any], seed: int = 0
) -> LinearProbe:
    """Fits multinomial logistic regression on standardised features.

    Three-fold cross-validation chooses the L2 strength by the Brier score of images left out; then all images are
    fitted. It is steadier than their accuracy, and no image weighs more than two: the log-likelihood can hang on a few
    whose features are far out, and then prefers a probe that tells no classes apart. The folds have the same share of
    each class, near-copies on one side.

    Args:
        features: all that may be fitted, training and validation part, (images, d).
        labels: (images,).
        groups: of near-copies, (images,).
        seed: of the folds.

    Returns:
        A fitted classifier.
    """
    folds = divide_images(
        np.unique(labels, return_inverse=True)[1],
        groups,
        [1 / FOLDS] * FOLDS,
        np.random.Generator(np.random.PCG64(seed_for("probe", seed=seed))),
    )
    parts = (folds == fold for fold in range(FOLDS if len(labels) < ONE_FOLD else 1))
    held_out = [part for part in parts if part.any() and len(np.unique(labels[~part])) > 1]
    # A fold's paths of solutions go on together from strong to weak regularisation, until images left out get worse.
    paths = [_path(features[~part], labels[~part]) for part in held_out]
    scores: list[float] = []
    for probes in zip(*paths, strict=True):
        left_out = zip(probes, held_out, strict=True)
        scores.append(sum(_brier_score(probe, features[part], labels[part]) for probe, part in left_out))
        if len(scores) > 1 and scores[-1] > scores[-2]:
            break
    strength = INVERSE_STRENGTHS[int(np.argmin(scores))] if scores else INVERSE_STRENGTHS[0]
    return next(_path(features, labels, (strength,)))


def _path(
    features: NDArray[np.float32], labels: NDArray[np.int64], strengths: tuple[float, ...] = INVERSE_STRENGTHS
) -> Iterator[LinearProbe]:
    """Yields the probe of each strength, each fitted from where the one before ended."""
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    # The features are many and the images few, so a loose tolerance loses nothing that a test part could show.
    model = LogisticRegression(max_iter=500, tol=1e-3, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(scaled, labels)
        weights = model.coef_.T / scaler.scale_[:, None]
        biases = model.intercept_ - scaler.mean_ @ weights
        if len(model.classes_) == 2:  # scikit-learn has one score then, the difference of the two.
            weights, biases = np.hstack([-weights / 2, weights / 2]), np.concatenate([-biases / 2, biases / 2])
        yield LinearProbe(weights.astype(np.float32), biases.astype(np.float32), model.classes_, strength)


def _brier_score(probe: LinearProbe, features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Sums the squared errors of the probabilities, 0 to 2 for each image whose class the probe knows (Brier, 1950)."""
    known = np.isin(labels, probe.labels)
    probabilities = softmax(probe.scores(features[known]).astype(float), axis=1)
    return float(((probabilities - (probe.labels == labels[known, None])) ** 2).sum())
