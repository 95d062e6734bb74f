"""How often intervals over seeds and test images, or over splits, hold the truth: simulated tables.

`coverage.py` runs these simulations and writes the page.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from clce_bench.analysis.bootstrap import hierarchical_bootstrap
from clce_bench.analysis.intervals import crossed_interval, crossed_parts, half_width, split_interval
from clce_bench.analysis.variance_components import MeanSquares, mean_squares
from clce_bench.seeds import seed_for

UNITS = 300
CASES = {
    "seeds only": (1.0, 0.0, 0.0),
    "test images only": (0.0, 1.0, 0.0),
    "rest only": (0.0, 0.0, 1.0),
    "seeds and images alike": (0.5, 0.5, 0.0),
    "all alike": (1 / 3, 1 / 3, 1 / 3),
    "few answers change": (0.1, 0.3, 0.6),
}
"""Shares of seed, unit and rest in the variance of the mean."""


def simulate(rng: np.random.Generator, seeds: int, shares: tuple[float, float, float], discrete: bool) -> NDArray:
    """Draws a table whose expected mean is 0 and whose mean has variance 1, (seeds, UNITS).

    Args:
        rng: the source of randomness.
        seeds: rows.
        shares: of seed, unit and rest.
        discrete: round effects of units and the rest to −1, 0 and 1, as differences of right and wrong answers are.
    """
    seed, unit, rest = np.sqrt(shares)
    effects = [rng.normal(size=shape) for shape in ((seeds, 1), (1, UNITS), (seeds, UNITS))]
    if discrete:  # One in ten answers differs; the scale keeps the variance at 1.
        effects[1:] = [np.where(np.abs(e) > 1.645, np.sign(e), 0) / 0.1**0.5 for e in effects[1:]]
    return seed * seeds**0.5 * effects[0] + unit * UNITS**0.5 * effects[1] + rest * (seeds * UNITS) ** 0.5 * effects[2]


def half_widths(squares: MeanSquares, n: int, m: int, tail: float) -> dict[str, NDArray[np.float64]]:
    """Computes how far the intervals of many tables reach, by method.

    Args:
        squares: of the tables.
        n: seeds.
        m: units.
        tail: probability beyond either end.
    """
    ways = crossed_parts(squares, n, m)
    (seeds, of), (units, _) = ways[0]
    rest = np.asarray(squares.rest) / (n * m)
    # One number of degrees of freedom for all (Satterthwaite, Biometrics Bulletin 2, 1946).
    spread = seeds**2 / of + (units + rest) ** 2 / (m - 1) + rest**2 / (of * (m - 1))
    freedom = np.where(units > 0, np.maximum((seeds + units) ** 2 / spread, of), of)
    return {
        "crossed t": half_width(ways, tail),
        "without the floor": half_width(ways[:1], tail),
        "Satterthwaite": -stdtrit(freedom, tail) * (seeds + units) ** 0.5,
        "t over seeds": -stdtrit(of, tail) * seeds**0.5,
    }


def methods_coverage(
    rng: np.random.Generator, repeats: int, seeds: int, shares: tuple[float, float, float], discrete: bool
) -> dict[str, float]:
    """Says how often each method's 95 % interval holds 0; the bootstrap on a quarter of the tables."""
    means, squares, boot = [], [], []
    for number in range(repeats):
        table = simulate(rng, seeds, shares, discrete)
        means.append(table.mean())
        squares.append(mean_squares(table))
        if number % 4 == 0:
            low, high = np.quantile(hierarchical_bootstrap(table, resamples=2000), [0.025, 0.975])
            boot.append(low <= 0 <= high)
    widths = half_widths(MeanSquares(*np.transpose(squares)), seeds, UNITS, 0.025)
    held = {name: float((np.abs(means) <= width).mean()) for name, width in widths.items()}
    return held | {"plain bootstrap": float(np.mean(boot))}


def draw_squares(
    purpose: str, repeats: int, seeds: int, shares: tuple[float, float, float]
) -> tuple[MeanSquares, NDArray[np.float64]]:
    """Draws the mean squares of tables whose mean has variance 1, and the means."""
    rng = np.random.default_rng(seed_for(purpose, seeds=seeds, case=str(shares)))
    seed, unit, rest = shares
    freedoms = seeds - 1, UNITS - 1, (seeds - 1) * (UNITS - 1)
    expected = seed + rest, unit + rest, rest
    drawn = [
        UNITS * seeds * value * rng.chisquare(of, repeats) / of for value, of in zip(expected, freedoms, strict=True)
    ]
    return MeanSquares(*drawn), rng.normal(size=repeats)


def false_alarms(repeats: int, seeds: int, shares: tuple[float, float, float], level: float) -> tuple[float, float]:
    """Simulates how often a test at a level finds a difference where there is none, from mean squares directly.

    Args:
        repeats: tables.
        seeds: of each table.
        shares: of seed, unit and rest in the variance of the mean.
        level: of the test, such as 0.05.

    Returns:
        The share of false alarms with the interval in use and with Satterthwaite's degrees of freedom.
    """
    squares, means = draw_squares("false alarms", repeats, seeds, shares)
    widths = half_widths(squares, seeds, UNITS, level / 2)
    return tuple(float((np.abs(means) > widths[name]).mean()) for name in ("crossed t", "Satterthwaite"))


def floor_coverage(repeats: int, seeds: int, shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """Looks at tables whose seeds agree better than chance allows: a mean square of at most a third of the rest's.

    Returns:
        The share of such tables, and how often their intervals hold the truth with the floor and without it.
    """
    squares, means = draw_squares("floor under the seeds", repeats, seeds, shares)
    agree = squares.seeds < squares.rest / 3
    widths = half_widths(squares, seeds, UNITS, 0.025)
    held = [float((np.abs(means) <= widths[name])[agree].mean()) for name in ("crossed t", "without the floor")]
    return float(agree.mean()), *held


def splits_coverage(repeats: int, splits: int, answers: str) -> dict[str, float]:
    """Compares the intervals over repeated random splits of one small data set: corrected, and plain t.

    The model answers four of five images rightly, of all that might be collected: that is the truth. Splits share the
    images of the one data set at hand.

    Args:
        repeats: data sets.
        splits: of each.
        answers: ``alike``, the same for an image in every split, or ``anew``, each time by chance.
    """
    rng = np.random.default_rng(seed_for("coverage of splits", splits=splits, answers=answers))
    images, test = 400, 100
    held = {"corrected": 0, "plain t over splits": 0}
    for _ in range(repeats):
        chances = (rng.random(images) < 0.8) if answers == "alike" else np.full(images, 0.8)
        means = np.array([(rng.random(test) < chances[rng.permutation(images)[:test]]).mean() for _ in range(splits)])
        corrected = split_interval(means, test / (images - test), splits)
        plain = crossed_interval(means[:, None])
        held["corrected"] += corrected.low <= 0.8 <= corrected.high
        held["plain t over splits"] += plain.low <= 0.8 <= plain.high
    return {name: count / repeats for name, count in held.items()}
