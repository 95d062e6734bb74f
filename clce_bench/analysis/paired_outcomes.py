"""Differences between settings, run by run and image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.analysis.statistics import Interval, crossed_interval, effect_size, mean_interval, split_interval
from clce_bench.labels import is_accuracy

RUN = ["split_seed", "fold", "seed"]
"""What makes two cells of different settings a pair."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of settings, such as a loss minus another, on the runs that all of them have.

    Attributes:
        tables: by the seed of the split: (runs, units), units being groups of test images, or episodes, that all runs
            share; one unit when only the means are known. Accuracies are in per cent.
        test_to_train: test images per training image.
        cells: names of the cells behind it.
    """

    tables: dict[int, NDArray[np.float64]]
    test_to_train: float
    cells: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How many runs (seeds, over all splits and folds) stand behind it."""
        return sum(len(table) for table in self.tables.values())

    @property
    def units(self) -> int:
        """Test images (groups of near-copies) or episodes of a split; 1 when only the means are known."""
        return min((table.shape[1] for table in self.tables.values()), default=0)

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean of each run, (runs,)."""
        return np.concatenate([table.mean(axis=1) for table in self.tables.values()] or [np.empty(0)])

    @property
    def interval(self) -> Interval:
        """The mean with its interval: over seeds and units, or over splits when there are several."""
        if len(self.tables) > 1:
            means = [table.mean() for table in self.tables.values()]
            return split_interval(means, self.test_to_train, self.runs)
        return crossed_interval(next(iter(self.tables.values()), np.empty((0, 1))))

    @property
    def pooled(self) -> Interval:
        """The interval that pooling all units of all runs gives: a hazard, since they are not independent."""
        return mean_interval(np.concatenate([table.ravel() for table in self.tables.values()] or [np.empty(0)]))

    def shifted(self, by: float) -> "Contrast":
        """Adds a constant to every value, so that ``p`` asks whether the mean differs from its negative."""
        return replace(self, tables={split: table + by for split, table in self.tables.items()})

    @property
    def effect_size(self) -> float:
        """Hedges' g over the runs."""
        return effect_size(self.means)


def contrast(terms: Sequence[tuple[float, pd.DataFrame]], metric: str) -> Contrast:
    """Combines settings run by run.

    Args:
        terms: a weight and the cells of a setting, from the summary; no run occurs twice in a setting.
        metric: a column such as ``metric.top1``.

    Returns:
        The weighted sum on the runs that all settings have with a result; without runs when there are none.
    """
    scale = 100.0 if is_accuracy(metric) else 1.0
    weights, settings = [weight for weight, _ in terms], [_runs(rows, metric) for _, rows in terms]
    shared = sorted(set(settings[0]).intersection(*settings[1:]))
    found: dict[int, list[NDArray[np.float64]]] = {}
    for run in shared:
        members = [runs[run] for runs in settings]
        parts = [unit_outcomes(member.directory, metric) for member in members]
        if any(part is None for part in parts) or len({len(part) for part in parts if part is not None}) > 1:
            parts = [np.array([member.value]) for member in members]
        total = sum(weight * part for weight, part in zip(weights, parts, strict=True) if part is not None)
        found.setdefault(run[0], []).append(scale * np.asarray(total))
    tables = {split: _stacked(rows) for split, rows in found.items()}
    cells = sorted({runs[run].cell for runs in settings for run in shared})
    ratio = float(np.mean([settings[0][run].test_to_train for run in shared])) if shared else np.nan
    return Contrast(tables, ratio, tuple(cells))


class _Member(NamedTuple):
    value: float
    directory: str
    cell: str
    test_to_train: float


def _runs(rows: pd.DataFrame, metric: str) -> dict[tuple[int, int, int], _Member]:
    finished = rows[rows[metric].notna()]
    columns = [finished[name].tolist() for name in (metric, "directory", "cell", "test_to_train")]
    keys = zip(*(finished[axis].tolist() for axis in RUN), strict=True)
    return {run: _Member(*values) for run, *values in zip(keys, *columns, strict=True)}


def unit_outcomes(directory: str, metric: str) -> NDArray[np.float64] | None:
    """Reads what a cell measured on each unit: near-copies together, in the order of their groups.

    Args:
        directory: the cell's.
        metric: a column of the summary.

    Returns:
        Values whose mean is the metric, (units,); ``None`` if only the metric itself is known.
    """
    path = Path(directory, "metrics.npz").absolute()
    return _read(path, path.stat().st_mtime_ns, metric.removeprefix("metric.")) if path.exists() else None


@lru_cache(maxsize=512)
def _read(path: Path, _changed: int, name: str) -> NDArray[np.float64] | None:
    with np.load(path) as arrays:
        if f"outcome.{name}" not in arrays:
            return None
        outcomes, units = arrays[f"outcome.{name}"].astype(float), arrays[f"unit.{name}"]
    sums = np.bincount(units, outcomes)
    # Each unit counts by its number of images, so that the mean over units is that over images.
    return np.asarray(sums * (len(sums) / len(outcomes)), dtype=np.float64)


def _stacked(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    same = len({len(row) for row in rows}) == 1
    return np.stack(rows if same else [row.mean(keepdims=True) for row in rows])
