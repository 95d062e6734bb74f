"""Intervals, tests and effect sizes for a handful of seeds, each measured on the same test images or episodes.

Seeds and units (test images, classes) are crossed: every seed is measured on every unit. Their means differ because
seeds differ, because units differ, and by the rest. Intervals count all three, so they speak of other seeds *and* other
test images; benchmarks/coverage.py checks by simulation that they hold what they promise.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, stdtrit

from clce_bench.seeds import seed_for

MIN_SEEDS = 3
"""Seeds, or splits, below which there is no interval: from two, Student's is too wide to mean anything."""
RESAMPLES = 10_000
UNITS = 2_000
"""Units, at most, that the bootstrap resamples; more are merged at random."""


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
    seeds, units, rest = mean_squares(values)
    cells = np.size(values)
    return Components(max(seeds - rest, 0) / cells, max(units - rest, 0) / cells, rest / cells)


class MeanSquares(NamedTuple):
    """Mean squares of a table of seeds and units without replication; numbers, or an array for many tables.

    Attributes:
        seeds: between seeds.
        units: between units.
        rest: what is left.
    """

    seeds: Any
    units: Any
    rest: Any


def mean_squares(values: ArrayLike) -> MeanSquares:
    """Computes the mean squares of a two-way table.

    Args:
        values: (seeds, units), at least two of each.
    """
    array = np.asarray(values, dtype=float)
    n, m = array.shape
    grand = array.mean()
    seeds, units = array.mean(axis=1) - grand, array.mean(axis=0) - grand
    rest = array - grand - seeds[:, None] - units
    return MeanSquares(
        float(m * (seeds**2).sum() / (n - 1)),
        float(n * (units**2).sum() / (m - 1)),
        float((rest**2).sum() / ((n - 1) * (m - 1))),
    )


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
    widths = []
    for parts in ways:
        variances = np.array([np.asarray(variance, dtype=float) for variance, _ in parts])
        quantiles = -stdtrit([freedom for _, freedom in parts], tail)
        total = np.sqrt(variances.sum(axis=0))
        widths.append(
            np.divide(np.tensordot(quantiles, variances, 1), total, out=np.zeros_like(total), where=total > 0)
        )
    return np.asarray(np.max(widths, axis=0))


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
    mean = float(array.mean()) if array.size else np.nan
    if n < MIN_SEEDS:
        return _unknown(mean, n)
    if m == 1:
        return _student(mean, [[(array.var(ddof=1) / n, n - 1)]], n, confidence)
    return _student(mean, crossed_parts(mean_squares(array), n, m), n, confidence)


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
    if n < MIN_SEEDS or array.shape[1] <= m or np.linalg.matrix_rank(_design(ways)) < m:
        return _unknown(mean, n)
    found = class_variances(array, ways)
    both: list[Part] = [(found.classes, m - 1), (found.episodes, array.shape[1] - m)]
    freedoms = {"seeds": n - 1, "floor": (n - 1) * (m - 1)}
    return _student(mean, [[(getattr(found, way), of), *both] for way, of in freedoms.items()], n, confidence)


class ClassVariances(NamedTuple):
    """Parts of the variance of a mean over episodes.

    Attributes:
        seeds: from seeds, and what seeds do to classes and episodes.
        floor: what of that would be there if seeds made no difference on average.
        classes: from classes with their images.
        episodes: from the rest of the episodes that all seeds share.
    """

    seeds: float
    floor: float
    classes: float
    episodes: float


def class_variances(values: NDArray[np.float64], ways: ArrayLike) -> ClassVariances:
    """Computes the parts of the variance of :func:`class_interval`, with the same arguments."""
    design = _design(ways)
    (n, episodes), m = values.shape, design.shape[1]
    solver = np.linalg.pinv(design)
    effects = values @ solver.T
    residuals = values - effects @ design.T
    freedom, leverage = episodes - m, float((solver**2).sum() / m)
    by_seed = float(((residuals - residuals.mean(axis=0)) ** 2).sum() / ((n - 1) * freedom))
    shared = max(float((residuals.mean(axis=0) ** 2).sum() / freedom) - by_seed / n, 0)
    squares = mean_squares(effects)
    interaction = max(squares.rest - leverage * by_seed, 0)
    classes = max((squares.units - squares.rest) / n - leverage * shared, 0)
    floor = (interaction / m + by_seed / episodes) / n
    return ClassVariances(float(values.mean(axis=1).var(ddof=1)) / n, floor, classes / m, shared / episodes)


def _design(ways: ArrayLike) -> NDArray[np.float64]:
    members = np.asarray(ways)
    design = np.zeros((len(members), int(members.max()) + 1))
    np.add.at(design, (np.arange(len(members))[:, None], members), 1 / members.shape[1])
    return design


def split_interval(means: ArrayLike, test_to_train: float, seeds: int, confidence: float = 0.95) -> Interval:
    """Computes the interval of a mean over random splits of one data set, or over the parts that test in turn.

    Their training sets share images, so that their results are not independent; the variance is corrected as by Nadeau
    and Bengio (Machine Learning 52, 2003), for parts in turn, also repeated, as by Bouckaert and Frank (PAKDD 2004).

    Args:
        means: one result per split, or per split and part.
        test_to_train: test images per training image.
        seeds: how many runs stand behind them, for the record.
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


def _unknown(mean: float, n: int) -> Interval:
    return Interval(mean, np.nan, np.nan, n, np.nan)


def _student(mean: float, ways: list[list[Part]], n: int, confidence: float) -> Interval:
    """Makes an interval from the parts of the variance of a mean; what never varied says nothing of what would."""
    if not half_width(ways, 0.25) > 1e-9 * abs(mean):
        return _unknown(mean, n)

    def excess(log_p: float) -> float:
        return float(half_width(ways, np.exp(log_p) / 2)) - abs(mean)

    # Beyond these bounds floats end.
    least = -300.0
    log_p = least if excess(least) < 0 else brentq(excess, least, 0.0)
    half = float(half_width(ways, (1 - confidence) / 2))
    return Interval(mean, mean - half, mean + half, n, float(np.exp(log_p)))
