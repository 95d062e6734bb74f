"""Comparisons without a difference, drawn for `verdicts.py`: their means and the intervals around them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.analysis.intervals import Interval, Part, class_parts, crossed_parts
from clce_bench.analysis.variance_components import ClassVariances, MeanSquares, class_variances
from clce_bench.seeds import seed_for

UNITS, CLASSES, FOLDS, EPISODES, WAY = 1260, 11, 4, 150, 5
IMAGE_DRAWS, EPISODE_DRAWS = 200_000, 6_000
"""Tables without a difference, of which each simulated comparison takes one."""


class Variances(NamedTuple):
    """Of differences, in points²: seeds, units (test images or classes) and the rest."""

    seed: float
    unit: float
    rest: float


CASES = {
    "as measured": Variances(0.3, 300.0, 700.0),
    "seeds matter": Variances(3.0, 110.0, 800.0),
    "narrow": Variances(0.02, 10.0, 40.0),
}
"""The first is that of CLCE − CE on OpenMoji; with the last, intervals are a fifth as wide."""


@dataclass
class Drawn:
    """A comparison that was drawn, in place of a :class:`clce_bench.analysis.contrasts.Contrast`."""

    mean: float
    halves: dict[float, float]
    runs: int
    these_classes: bool
    cells: tuple[str, ...] = ()
    tables: dict[int, Any] = field(default_factory=dict)

    def at(self, confidence: float) -> Interval:
        """The interval at a confidence that was foreseen."""
        half = self.halves[round(1 - confidence, 9)]
        return Interval(self.mean, self.mean - half, self.mean + half, self.runs, np.nan)

    @property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return self.at(0.95)

    def shifted(self, by: float) -> "Drawn":
        """The same: p-values are not looked at."""
        return self


class Kind(NamedTuple):
    """What is alike in how comparisons are drawn."""

    seeds: int
    few_shot: bool
    these_classes: bool


class Draws(NamedTuple):
    """Means of tables without a difference, and the parts of their variances."""

    means: NDArray[np.float64]
    ways: list[list[Part]]


def draw(kind: Kind, case: str) -> Draws:
    """Draws tables of which the true mean is 0."""
    rng = np.random.default_rng(seed_for("page of verdicts", kind=str(tuple(kind)), case=case))
    return (_episodes if kind.few_shot else _images)(rng, kind.seeds, CASES[case])


def _images(rng: np.random.Generator, n: int, of: Variances) -> Draws:
    m, count = UNITS, IMAGE_DRAWS
    expected = (m * of.seed + of.rest, n * of.unit + of.rest, of.rest)
    freedoms = (n - 1, m - 1, (n - 1) * (m - 1))
    squares = (value * rng.chisquare(free, count) / free for value, free in zip(expected, freedoms, strict=True))
    variance = of.seed / n + of.unit / m + of.rest / (n * m)
    return Draws(variance**0.5 * rng.normal(size=count), crossed_parts(MeanSquares(*squares), n, m))


def _episodes(rng: np.random.Generator, n: int, of: Variances) -> Draws:
    """Draws whole tables: each class of each part has an effect, its own at each seed, and episodes have a rest."""
    folds = [rng.permuted(np.tile(np.arange(CLASSES), (EPISODES, 1)), axis=1)[:, :WAY] for _ in range(FOLDS)]
    ways = np.concatenate([members + CLASSES * fold for fold, members in enumerate(folds)])
    m, means, found = CLASSES * FOLDS, [], []
    # A class stands for its test images, so its effect varies less than that of one image.
    scale = np.sqrt(np.array([of.seed, of.unit / 60, of.rest / 300, of.rest / 30]))
    for _ in range(EPISODE_DRAWS):
        table = scale[0] * rng.normal(size=(n, 1)) + scale[1] * rng.normal(size=m)[ways].mean(axis=1)
        table = table + scale[2] * rng.normal(size=(n, m))[:, ways].mean(axis=2)
        table = table + scale[3] * (rng.normal(size=len(ways)) + rng.normal(size=(n, len(ways))))
        means.append(table.mean())
        found.append(class_variances(table, ways))
    return Draws(np.array(means), class_parts(ClassVariances(*np.transpose(found)), n, m, len(ways)))
