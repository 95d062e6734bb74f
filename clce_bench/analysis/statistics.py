"""Intervals, tests and effect sizes for a handful of seeds, each measured on the same test images or episodes.

Seeds and units (test images, episodes) are crossed: every seed is measured on every unit. Their means differ because
seeds differ, because units differ, and by the rest. Intervals count all three, so they speak of other seeds *and* other
test images; benchmarks/coverage.py checks by simulation that they hold what they promise.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, stdtrit

from clce_bench.seeds import seed_for

RESAMPLES = 10_000
UNITS = 2_000
"""Units, at most, that the bootstrap resamples; more are merged at random."""


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
        mean: the mean.
        low: lower end; NaN for fewer than two seeds.
        high: upper end; NaN for fewer than two seeds.
        n: how many seeds.
        p: two-sided p-value of a mean of zero; NaN for fewer than two seeds.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float


class Components(NamedTuple):
    """Parts of the variance of a mean over n seeds and m units; their sum is its variance.

    Attributes:
        seed: σ²(seed) / n.
        unit: σ²(unit) / m, of the test images or episodes.
        rest: σ²(rest) / (n · m).
    """

    seed: float
    unit: float
    rest: float


def crossed_components(values: ArrayLike) -> Components:
    """Estimates the components from the mean squares of a two-way table without replication; none is negative.

    Args:
        values: (seeds, units), at least two of each.
    """
    seeds, units, rest = _mean_squares(np.asarray(values, dtype=float))
    cells = np.size(values)
    return Components(max(seeds - rest, 0) / cells, max(units - rest, 0) / cells, rest / cells)


def crossed_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of a mean over seeds and units.

    The variance is that of two crossed random effects. Its part from seeds is known from n seeds only, its part from
    units from many units; the quantile is the mean of Student's for either, weighted by the parts (Cochran and Cox,
    Experimental Designs, 1950). With one unit this is the usual t-interval over seeds.

    Args:
        values: (seeds, units); one unit when only the mean of each seed is known.
        confidence: in (0, 1).
    """
    array = np.asarray(values, dtype=float)
    n, m = array.shape
    if n < 2:
        return Interval(float(array.mean()) if array.size else np.nan, np.nan, np.nan, n, np.nan)
    parts = [(float(array.mean(axis=1).var(ddof=1)) / n, n - 1)]
    if m > 1:
        _, units, rest = _mean_squares(array)
        parts.append((max(units - rest, 0) / array.size, m - 1))
    return _student(float(array.mean()), parts, n, confidence)


def split_interval(means: ArrayLike, test_to_train: float, seeds: int, confidence: float = 0.95) -> Interval:
    """Computes the interval of a mean over repeated random splits of one data set.

    The splits share images, so that their results are not independent; the variance is corrected as by Nadeau and
    Bengio (Machine Learning 52, 2003).

    Args:
        means: one result per split.
        test_to_train: test images per training image.
        seeds: how many runs stand behind them, for the record.
        confidence: in (0, 1).
    """
    array = np.asarray(means, dtype=float)
    variance = (1 / len(array) + test_to_train) * float(array.var(ddof=1))
    return _student(float(array.mean()), [(variance, len(array) - 1)], seeds, confidence)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's t-interval of a mean.

    Args:
        values: independent measurements, such as one accuracy per seed.
        confidence: in (0, 1).
    """
    return crossed_interval(np.asarray(values, dtype=float)[:, None], confidence)


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


def hierarchical_bootstrap(values: ArrayLike, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Resamples seeds and, independently, units, both with replacement, and returns the means, (resamples,).

    All tables of one shape see the same resamples, so results for several losses may be combined. Percentiles of the
    means are too narrow for few seeds and too wide where the rest dominates (docs/benchmarks/coverage.md): intervals
    come from :func:`crossed_interval`.

    Args:
        values: (seeds, units).
        resamples: how many.
    """
    array = _merged(np.asarray(values, dtype=np.float32))
    n, m = array.shape
    means = np.empty(resamples)
    seeds = _counts(n, resamples, "seeds")
    for start in range(0, resamples, 1000):  # Bounds the memory of the counts as numbers.
        rows = slice(start, start + 1000)
        drawn = _counts(m, resamples, "units")[rows].astype(np.float32)
        means[rows] = ((drawn @ array.T) * seeds[rows]).sum(axis=1) / array.size
    return means


def _merged(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Merges units at random into at most :data:`UNITS`, which keeps the mean, and its variance on average."""
    m = array.shape[1]
    if m <= UNITS:
        return array
    order = np.random.default_rng(seed_for("bootstrap", of="merged units", size=m)).permutation(m)
    starts = np.linspace(0, m, UNITS, endpoint=False).astype(int)
    merged: NDArray[np.float32] = np.add.reduceat(array[:, order], starts, axis=1) * np.float32(UNITS / m)
    return merged


@lru_cache(maxsize=4)
def _counts(size: int, resamples: int, purpose: str) -> NDArray[np.uint8]:
    """Draws how often each of ``size`` things occurs in each resample, (resamples, size)."""
    rng = np.random.default_rng(seed_for("bootstrap", of=purpose, size=size))
    counts = np.empty((resamples, size), dtype=np.uint8)
    for row in range(resamples):
        counts[row] = np.bincount(rng.integers(size, size=size), minlength=size)
    return counts


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Corrects p-values for being many (Holm, Scandinavian Journal of Statistics 6, 1979); NaN stays and counts not.

    Args:
        p: the p-values of one table.
    """
    values = np.asarray(p, dtype=float)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[values[known].argsort(kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(steps).clip(max=1)
    return corrected


def effect_size(differences: ArrayLike) -> float:
    """Computes Hedges' g of paired differences: their mean in standard deviations, corrected for few values.

    Args:
        differences: one per seed; NaN is returned for fewer than two, or if all are equal.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 2 or np.ptp(values) == 0:
        return float("nan")
    correction = np.exp(gammaln((n - 1) / 2) - gammaln((n - 2) / 2)) * (2 / (n - 1)) ** 0.5 if n > 2 else 1.0
    return float(correction * values.mean() / values.std(ddof=1))


def _mean_squares(array: NDArray[np.float64]) -> tuple[float, float, float]:
    n, m = array.shape
    grand = array.mean()
    seeds, units = array.mean(axis=1) - grand, array.mean(axis=0) - grand
    rest = array - grand - seeds[:, None] - units
    return (
        float(m * (seeds**2).sum() / (n - 1)),
        float(n * (units**2).sum() / (m - 1)),
        float((rest**2).sum() / ((n - 1) * (m - 1))),
    )


def _student(mean: float, parts: list[tuple[float, int]], n: int, confidence: float) -> Interval:
    """Makes an interval from the parts of the variance of a mean, each with its degrees of freedom."""
    variances, freedoms = np.array(parts).T
    if not variances.any():
        return Interval(mean, mean, mean, n, float(mean == 0))

    def half_width(log_p: float) -> float:
        return float(-stdtrit(freedoms, np.exp(log_p) / 2) @ variances / np.sqrt(variances.sum()))

    # Beyond these bounds floats end.
    least = -300.0
    beyond = half_width(least) < abs(mean)
    log_p = least if beyond else brentq(lambda value: half_width(value) - abs(mean), least, 0.0)
    half = half_width(np.log(1 - confidence))
    return Interval(mean, mean - half, mean + half, n, float(np.exp(log_p)))
