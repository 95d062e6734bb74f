"""Intervals for a handful of paired runs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
        mean: the mean.
        low: lower end; NaN for fewer than two values.
        high: upper end; NaN for fewer than two values.
        n: how many values.
    """

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of a mean.

    Args:
        values: independent measurements, such as one accuracy per seed.
        confidence: in (0, 1).
    """
    array = np.asarray(values, dtype=float)
    n, mean = len(array), float(array.mean()) if len(array) else float("nan")
    if n < 2:
        return Interval(mean, float("nan"), float("nan"), n)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(array.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(values: ArrayLike, baseline: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of the mean difference of paired measurements.

    Args:
        values: one per pair.
        baseline: the partner of each value, in the same order.
        confidence: in (0, 1).

    Raises:
        ValueError: the two are not of one length.
    """
    one, other = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if one.shape != other.shape:
        raise ValueError(f"paired values must be of one length; found {one.shape} and {other.shape}.")
    return mean_interval(one - other, confidence)
