"""What a cell measured on each unit: test images, near-copies together, classes or episodes."""

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Outcomes(NamedTuple):
    """What a cell measured on each unit.

    Attributes:
        values: their mean is the metric, (units,).
        sizes: how much each unit counts, on average 1, (units,).
        ways: the classes of each episode, (episodes, way); ``None`` for other units.
    """

    values: NDArray[np.float64]
    sizes: NDArray[np.float64]
    ways: NDArray[np.int64] | None = None


def ratio_values(values: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lets units of different size enter by their deviation from the overall mean: the ratio estimator.

    So large units do not make the mean, which stays the same, look uncertain.

    Args:
        values: of units, by how much each counts, (seeds, units).
        sizes: how much each unit counts, on average 1, (units,).
    """
    return np.asarray(values - values.mean() * (sizes - 1))


def unit_outcomes(directory: str, metric: str) -> Outcomes | None:
    """Reads what a cell measured on each unit: near-copies together, in the order of their groups.

    Args:
        directory: the cell's.
        metric: a column of the summary.

    Returns:
        ``None`` if only the metric itself is known.
    """
    try:
        # Asked for each metric of each cell: making a path of the name would take longer than the look.
        state = os.stat(directory)  # noqa: PTH116
    except FileNotFoundError:
        return None
    # Results are renamed into their folder when they are whole, which changes its time.
    return _read(directory, (state.st_dev, state.st_ino, state.st_mtime_ns), metric.removeprefix("metric."))


@lru_cache(maxsize=512)
def _read(directory: str, _state: tuple[int, int, int], name: str) -> Outcomes | None:
    for path in sorted(Path(directory).glob("me*.npz"), key=lambda one: (one.name != "metrics.npz", one.name)):
        with np.load(path) as arrays:
            if f"outcome.{name}" in arrays:
                outcomes, units = arrays[f"outcome.{name}"].astype(float), arrays[f"unit.{name}"]
                # Each unit counts by its number of images, so that the mean over units is that over images.
                scale = (units.max() + 1) / len(outcomes)
                ways = arrays.get(f"ways.{name}")
                return Outcomes(np.bincount(units, outcomes) * scale, np.bincount(units) * scale, ways)
    return None
