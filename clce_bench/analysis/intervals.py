"""Intervals and p-values for a handful of seeds, each measured on the same test images or episodes.

Seeds and units (test images, classes) are crossed: every seed is measured on every unit. Their means differ because
seeds differ, because units differ, and by the rest. Intervals count all three, so they speak of other seeds *and* other
test images; benchmarks/coverage.py checks by simulation that they hold what they promise.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from clce_bench.analysis.variance_components import (
    ClassVariances,
    MeanSquares,
    class_design,
    class_variances,
    mean_squares,
)

MIN_SEEDS = 3
"""Seeds, or splits, below which there is no interval: from two, Student's is too wide to mean anything."""


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
        mean: the mean.
        low: lower end; NaN where it cannot be known: for fewer than :data:`MIN_SEEDS` seeds, or without any variance.
        high: upper end; NaN likewise.
        n: how many seeds.
        p: two-sided p-value of a mean of zero; NaN likewise.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float


Part = tuple[ArrayLike, float]
"""A part of the variance of a mean, or of many means, and the degrees of freedom from which it is known."""


def half_width(ways: Sequence[Sequence[Part]], tail: float) -> NDArray[np.float64]:
    """Computes how far from the mean an interval ends.

    The quantile is the mean of Student's for each part of the variance, weighted by the parts (Cochran and Cox,
    Experimental Designs, 1950).

    Args:
        ways: ways to estimate the variance, each its parts; the widest counts.
        tail: probability beyond either end, in (0, 0.5).
    """
    return _half_widths(ways)(tail)


def _half_widths(ways: Sequence[Sequence[Part]]) -> Callable[[float], NDArray[np.float64]]:
    """Prepares :func:`half_width` for many tails: all but the quantiles are computed once."""
    prepared = []
    for parts in ways:
        variances = np.array([np.asarray(variance, dtype=float) for variance, _ in parts])
        total = np.sqrt(variances.sum(axis=0))
        # Without any variance the width is 0.
        prepared.append((np.array([freedom for _, freedom in parts]), variances, np.where(total > 0, total, np.inf)))

    def widest(tail: float) -> NDArray[np.float64]:
        return reduce(
            np.maximum, (-stdtrit(freedoms, tail) @ variances / total for freedoms, variances, total in prepared)
        )

    return widest


def crossed_parts(squares: MeanSquares, n: int, m: int) -> list[list[Part]]:
    """Lists the parts of the variance of a mean over n seeds and m units, two crossed random effects.

    Where the mean square of the seeds comes out below that of the rest by chance, the second way holds: seeds that make
    no difference at all. So no interval is shorter than one that knows this.

    Args:
        squares: of the table, or of many tables.
        n: seeds.
        m: units.
    """
    units: Part = np.maximum(np.subtract(squares.units, squares.rest), 0) / (n * m), m - 1
    seeds, floor = np.asarray(squares.seeds) / (n * m), np.asarray(squares.rest) / (n * m)
    return [[(seeds, n - 1), units], [(floor, (n - 1) * (m - 1)), units]]


def crossed_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of a mean over seeds and units: :func:`crossed_parts`, :func:`half_width`.

    With one unit this is the usual t-interval over seeds.

    Args:
        values: (seeds, units); one unit when only the mean of each seed is known.
        confidence: in (0, 1).
    """
    array = np.asarray(values, dtype=float)
    n, m = array.shape
    if n < MIN_SEEDS or m == 1:
        return mean_interval(array.mean(axis=1), confidence)
    return _student(float(array.mean()), crossed_parts(mean_squares(array), n, m), n, confidence)


def class_interval(values: ArrayLike, ways: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes the interval of a mean over few-shot episodes, which draw from the same few classes and images.

    Episodes are no units: a thousand of them say little more about other classes than the classes do. Least squares
    gives each class a value, so that an episode is the mean of its classes and a rest; the images of a class are in
    its value. Seeds and classes are then crossed as in :func:`crossed_interval`. The rest of the episodes, which is
    larger in the values of classes than in the mean, is taken out there and added as what it is. Without such a rest
    this is the jackknife that leaves out one class at a time.

    Args:
        values: (seeds, episodes); the same episodes for all seeds.
        ways: the classes of each episode, (episodes, way), from 0 on.
        confidence: in (0, 1).

    Returns:
        An interval without ends where the classes are too few to be told apart.
    """
    array, m = np.asarray(values, dtype=float), int(np.max(ways)) + 1
    mean, n = float(array.mean()), len(array)
    if n < MIN_SEEDS or array.shape[1] <= m or np.linalg.matrix_rank(class_design(ways)) < m:
        return _unknown(mean, n)
    return _student(mean, class_parts(class_variances(array, ways), n, m, array.shape[1]), n, confidence)


def class_parts(found: ClassVariances, n: int, m: int, episodes: int) -> list[list[Part]]:
    """Lists the parts of the variance of a mean over episodes, in two ways as :func:`crossed_parts`.

    Args:
        found: of the table, or of many tables.
        n: seeds.
        m: classes.
        episodes: how many.
    """
    both: list[Part] = [(found.classes, m - 1), (found.episodes, episodes - m)]
    return [[(found.seeds, n - 1), *both], [(found.floor, (n - 1) * (m - 1)), *both]]


def split_interval(means: ArrayLike, test_to_train: float, seeds: int, confidence: float = 0.95) -> Interval:
    """Computes the interval of a mean over random splits of one data set, or over the parts that test in turn.

    Their training sets share images, so that their results are not independent; the variance is corrected as by Nadeau
    and Bengio (Machine Learning 52, 2003), for parts in turn, also repeated, as by Bouckaert and Frank (PAKDD 2004).

    Args:
        means: one result per split, or per split and part.
        test_to_train: test images per training image.
        seeds: how many runs are behind them, for the record.
        confidence: in (0, 1).
    """
    array = np.asarray(means, dtype=float)
    if len(array) < MIN_SEEDS:
        return _unknown(float(array.mean()) if len(array) else np.nan, seeds)
    variance = (1 / len(array) + test_to_train) * float(array.var(ddof=1))
    return _student(float(array.mean()), [[(variance, len(array) - 1)]], seeds, confidence)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of a mean.

    Args:
        values: independent measurements, such as one accuracy per seed.
        confidence: in (0, 1).
    """
    return split_interval(values, 0.0, np.size(values), confidence)


def _unknown(mean: float, n: int) -> Interval:
    return Interval(mean, np.nan, np.nan, n, np.nan)


def _student(mean: float, ways: list[list[Part]], n: int, confidence: float) -> Interval:
    """Makes an interval from the parts of the variance of a mean; what never varied says nothing of what would."""
    width = _half_widths(ways)
    if not width(0.25) > 1e-9 * abs(mean):
        return _unknown(mean, n)

    def excess(log_p: float) -> float:
        return float(width(np.exp(log_p) / 2)) - abs(mean)

    # Beyond these bounds floats end.
    least = -300.0
    log_p = least if excess(least) < 0 else brentq(excess, least, 0.0)
    half = float(width((1 - confidence) / 2))
    return Interval(mean, mean - half, mean + half, n, float(np.exp(log_p)))
