"""Where the variance of a mean comes from: seeds, units (test images, classes) and the rest.

Seeds and units are crossed: every seed is measured on every unit.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


class ClassVariances(NamedTuple):
    """Parts of the variance of a mean over episodes; numbers, or an array for many tables.

    Attributes:
        seeds: from seeds, and what seeds do to classes and episodes.
        floor: what of that would be there if seeds made no difference on average.
        classes: from classes with their images.
        episodes: from the rest of the episodes that all seeds share.
    """

    seeds: Any
    floor: Any
    classes: Any
    episodes: Any


def class_variances(values: NDArray[np.float64], ways: ArrayLike) -> ClassVariances:
    """Computes the parts of the variance of :func:`clce_bench.analysis.intervals.class_interval`.

    Args:
        values: (seeds, episodes); the same episodes for all seeds.
        ways: the classes of each episode, (episodes, way), from 0 on.
    """
    design = class_design(ways)
    (n, episodes), m = values.shape, design.shape[1]
    # The classes can be told apart, so the normal equations give the pseudo-inverse, much faster.
    solver = np.linalg.solve(design.T @ design, design.T)
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


def class_design(ways: ArrayLike) -> NDArray[np.float64]:
    """Gives each class its share of each episode, (episodes, classes).

    Args:
        ways: the classes of each episode, (episodes, way), from 0 on.
    """
    members = np.asarray(ways)
    design = np.zeros((len(members), int(members.max()) + 1))
    np.add.at(design, (np.arange(len(members))[:, None], members), 1 / members.shape[1])
    return design
