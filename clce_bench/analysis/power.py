"""What an experiment can see: power, the smallest visible difference, and what a wanted one takes.

The mean over n seeds and m test images has the variance of two crossed random effects; mean and mean squares are
independent, so the test of :func:`clce_bench.analysis.intervals.crossed_interval` is simulated on mean squares alone.
benchmarks/power.py compares the prediction with tests of whole simulated tables.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.intervals import MIN_SEEDS, crossed_parts, half_width
from clce_bench.analysis.variance_components import MeanSquares, class_variances, mean_squares
from clce_bench.seeds import seed_for

POWER = 0.8
DRAWS = 20_000
MOST_SEEDS, MOST_UNITS = 1000, 10_000_000


class Spread(NamedTuple):
    """Of how many seeds and units a difference is the mean, and the variances of one.

    Attributes:
        seeds: how many, each over all parts that test.
        units: how many test images, or classes of episodes.
        seed: variance from seed to seed, points².
        unit: from unit to unit.
        rest: of what is left.
    """

    seeds: int
    units: int
    seed: float
    unit: float
    rest: float

    @property
    def variance(self) -> float:
        """Variance of the mean."""
        return self.seed / self.seeds + self.unit / self.units + self.rest / (self.seeds * self.units)


def visible_by(result: Contrast, alpha: float) -> float | None:
    """Says what a comparison could have shown: :func:`smallest_visible`; ``None`` where that cannot be known.

    Args:
        result: the comparison.
        alpha: level of the test.
    """
    spread = spread_of(result)
    return smallest_visible(spread, alpha) if spread else None


def spread_of(result: Contrast) -> Spread | None:
    """Estimates the spread of a difference; ``None`` where it cannot be known, or rests on repeated splits."""
    table = next(iter(result.tables.values()), np.empty((0, 1)))
    n, m = table.shape
    if len(result.tables) != 1 or n < MIN_SEEDS or m < 2 or np.isnan(result.interval.low):
        return None
    if result.ways is not None:
        parts = class_variances(table, result.ways)
        m = int(result.ways.max()) + 1
        seed = max(parts.seeds - parts.floor, 0) * n
        return Spread(n, m, seed, (parts.classes + parts.episodes) * m, parts.floor * n * m)
    squares = mean_squares(table)
    return Spread(
        n, m, max(squares.seeds - squares.rest, 0) / m, max(squares.units - squares.rest, 0) / n, float(squares.rest)
    )


def power(spread: Spread, difference: float, alpha: float) -> float:
    """Predicts how often a true difference is found, two-sided.

    Args:
        spread: of the difference.
        difference: the true one, in points.
        alpha: level of the test.
    """
    if spread.seeds < MIN_SEEDS:
        return 0.0
    distance, widths = _draws(spread, alpha)
    return float((np.abs(difference + distance) > widths).mean())


@cache
def smallest_visible(spread: Spread, alpha: float) -> float:
    """Finds the difference that is found with :data:`POWER`; infinite for fewer than three seeds.

    Args:
        spread: of the difference.
        alpha: level of the test.
    """
    if spread.seeds < MIN_SEEDS:
        return float("inf")
    distance, widths = _draws(spread, alpha)
    low, high = 0.0, float(np.quantile(widths, 0.99) + 4 * np.sqrt(spread.variance))
    for _ in range(30):
        middle = (low + high) / 2
        found = (np.abs(middle + distance) > widths).mean() >= POWER
        low, high = (low, middle) if found else (middle, high)
    return high


@cache
def seeds_needed(spread: Spread, difference: float, alpha: float) -> int | None:
    """Says how many seeds show a difference; ``None`` if no number does, since the test images are the limit."""
    return _least(lambda n: spread._replace(seeds=n), MIN_SEEDS, MOST_SEEDS, difference, alpha)


def seeds_can_decide(spread: Spread, effect: float, margin: float, tolerance: float, alpha: float) -> bool:
    """Says whether any number of seeds can decide a comparison, or the test images are the limit.

    With more and more seeds the interval shrinks to that of the test images alone. Where its middle would then lie is
    known up to the seeds so far; no place in there may be one that decides.

    Args:
        spread: of the difference.
        effect: what was seen, in points.
        margin: the smallest difference that matters.
        tolerance: how far below 0 still counts as what is claimed.
        alpha: level of the test.
    """
    n, m = spread.seeds, spread.units
    images = (spread.unit / m) ** 0.5
    seeds = float(-stdtrit(n - 1, 0.025)) * (spread.seed / n + spread.rest / (n * m)) ** 0.5
    reach, nearest = abs(effect + tolerance) + seeds, max(abs(effect) - seeds, 0.0)
    beyond_zero = reach > -stdtrit(m - 1, alpha / 2) * images
    return bool(beyond_zero or nearest - stdtrit(m - 1, alpha) * images < margin)


@cache
def units_needed(spread: Spread, difference: float, alpha: float) -> int | None:
    """Says how many test images show a difference with these seeds; ``None`` if no number does."""
    return _least(lambda m: spread._replace(units=m), 2, MOST_UNITS, difference, alpha)


def _least(of: Callable[[int], Spread], least: int, most: int, difference: float, alpha: float) -> int | None:
    if power(of(most), difference, alpha) < POWER:
        return None
    low, high = least - 1, most
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if power(of(middle), difference, alpha) >= POWER else (middle, high)
    return high


def _draws(spread: Spread, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws distances of the mean from the truth, and half the widths of intervals."""
    n, m = spread.seeds, spread.units
    squares, distance = _standard_draws(n, m)
    expected = (m * spread.seed + spread.rest, n * spread.unit + spread.rest, spread.rest)
    drawn = MeanSquares(*(value * one for value, one in zip(expected, squares, strict=True)))
    return spread.variance**0.5 * distance, half_width(crossed_parts(drawn, n, m), alpha / 2)


@lru_cache(maxsize=64)
def _standard_draws(seeds: int, units: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Draws mean squares whose expectation is 1, and distances whose variance is 1."""
    rng = np.random.default_rng(seed_for("power", seeds=seeds, units=units))
    freedoms = (seeds - 1, units - 1, (seeds - 1) * (units - 1))
    return [rng.chisquare(of, DRAWS) / of for of in freedoms], rng.normal(size=DRAWS)
