"""Differences between settings, run by run and image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.analysis.statistics import (
    MIN_SEEDS,
    Interval,
    class_interval,
    crossed_interval,
    effect_size,
    mean_interval,
    split_interval,
)
from clce_bench.labels import is_accuracy

RUN = ["split_seed", "fold", "seed", "test_fold", "class_fold"]
"""What makes two cells of different settings a pair."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of settings, such as a loss minus another, on the runs that all of them have.

    Where parts test in turn, a run is made of one cell per part: its units are those of all parts, side by side.

    Attributes:
        tables: by the seed of the split: (runs, units), units being groups of test images, or episodes, that all runs
            share; one unit when only the means are known. Accuracies are in per cent.
        parts: likewise, the mean of each part that tests, (runs, parts).
        ways: of episodes, their classes, (episodes, way), numbered over all parts; ``None`` for other units.
        test_to_train: test images per training image.
        class_folds: how many parts have novel classes of their own.
        cells: names of the cells behind it.
    """

    tables: dict[int, NDArray[np.float64]]
    parts: dict[int, NDArray[np.float64]]
    ways: NDArray[np.int64] | None
    test_to_train: float
    class_folds: int
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
    def these_classes(self) -> bool:
        """Whether it speaks of the novel classes of one split only."""
        return self.ways is not None and len(self.tables) * self.class_folds < 2

    @property
    def note(self) -> str:
        """What must be said beside the interval: why there is none, or that it speaks of these classes only."""
        if self.runs and np.isnan(self.interval.low):
            few = len(self.parts) if len(self.parts) > 1 else self.runs
            if few < MIN_SEEDS:
                what = "splits" if len(self.parts) > 1 else "seeds"
                return f"no interval: fewer than {MIN_SEEDS} {what}"
            return "no interval: all runs are equal" if np.ptp(self.means) == 0 else "no interval: too few classes"
        return "for these classes" if self.these_classes else ""

    @property
    def listed(self) -> str:
        """The means of the runs where they are too few for an interval."""
        return ", ".join(f"{value:.2f}" for value in self.means) if 0 < self.runs < MIN_SEEDS else ""

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean of each run, (runs,)."""
        return np.concatenate([table.mean(axis=1) for table in self.tables.values()] or [np.empty(0)])

    def at(self, confidence: float) -> Interval:
        """The mean with its interval: over seeds and units (classes, of episodes), or over splits if there are several.

        Args:
            confidence: in (0, 1).
        """
        if len(self.tables) > 1:
            return self._over_parts(confidence)
        table = next(iter(self.tables.values()), np.empty((0, 1)))
        if self.ways is not None and len(table):
            return class_interval(table, self.ways, confidence)
        return crossed_interval(table, confidence)

    @property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return self.at(0.95)

    @property
    def corrected(self) -> Interval:
        """The interval over parts that test in turn, corrected for what their training sets share; unknown without."""
        return self._over_parts(0.95)

    def _over_parts(self, confidence: float) -> Interval:
        means = [mean for parts in self.parts.values() for mean in parts.mean(axis=0)]
        return split_interval(means, self.test_to_train, self.runs, confidence)

    @property
    def pooled(self) -> Interval:
        """The interval that pooling all units of all runs gives: a hazard, since they are not independent."""
        return mean_interval(np.concatenate([table.ravel() for table in self.tables.values()] or [np.empty(0)]))

    def shifted(self, by: float) -> "Contrast":
        """Adds a constant to every value, so that ``p`` asks whether the mean differs from its negative."""
        tables = {split: table + by for split, table in self.tables.items()}
        return replace(self, tables=tables, parts={split: parts + by for split, parts in self.parts.items()})

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
    found: dict[int, dict[tuple[int, int], dict[tuple[int, int], _Part]]] = {}
    for run in shared:
        members = [runs[run] for runs in settings]
        outcomes = [_outcomes(member, metric) for member in members]
        if len({len(one.values) for one in outcomes}) > 1:
            outcomes = [Outcomes(np.array([member.value]), np.ones(1)) for member in members]
        total = sum(weight * one.values for weight, one in zip(weights, outcomes, strict=True))
        split, fold, seed, *part = run
        summed = _Part(run, outcomes[0]._replace(values=scale * np.asarray(total)))
        found.setdefault(split, {}).setdefault((fold, seed), {})[part[0], part[1]] = summed
    whole = {split: _whole(runs) for split, runs in found.items()}
    used = [part.run for runs in whole.values() for run in runs for part in run]
    ratio = float(np.mean([settings[0][run].test_to_train for run in used])) if used else np.nan
    first = next((run for runs in whole.values() for run in runs), [])
    return Contrast(
        {split: _stitched(runs, by_class=metric.startswith("metric.balanced_")) for split, runs in whole.items()},
        {
            split: np.array([[part.outcomes.values.mean() for part in run] for run in runs])
            for split, runs in whole.items()
        },
        _numbered([part.outcomes.ways for part in first]),
        ratio,
        len({run[-1] for run in used}),
        tuple(sorted({runs[run].cell for runs in settings for run in used})),
    )


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


Run = tuple[int, int, int, int, int]
"""Values of :data:`RUN`."""


class _Member(NamedTuple):
    value: float
    directory: str
    cell: str
    test_to_train: float


class _Part(NamedTuple):
    run: Run
    outcomes: Outcomes


def _runs(rows: pd.DataFrame, metric: str) -> dict[Run, _Member]:
    finished = rows[rows[metric].notna()]
    columns = [finished[name].tolist() for name in (metric, "directory", "cell", "test_to_train")]
    keys = zip(*(finished[axis].tolist() for axis in RUN), strict=True)
    return {run: _Member(*values) for run, *values in zip(keys, *columns, strict=True)}


def _outcomes(member: _Member, metric: str) -> Outcomes:
    return unit_outcomes(member.directory, metric) or Outcomes(np.array([member.value]), np.ones(1))


def _whole(runs: dict[tuple[int, int], dict[tuple[int, int], _Part]]) -> list[list[_Part]]:
    """Keeps the runs in which every part has tested, each as its parts in order."""
    parts = sorted({part for own in runs.values() for part in own})
    return [[own[part] for part in parts] for own in runs.values() if len(own) == len(parts)]


def _stitched(runs: list[list[_Part]], by_class: bool) -> NDArray[np.float64]:
    """Puts the units of all parts of a run side by side, (runs, units): each image is tested once.

    Units of different size enter by their deviation from the overall mean (the ratio estimator), so that large groups
    do not make the mean look uncertain. The classes of metrics by class are the same in every part.
    """
    rows = [[part.outcomes for part in run] for run in runs]
    if len({tuple(len(one.values) for one in row) for row in rows}) != 1:
        return np.array([[np.mean([one.values.mean() for one in row])] for row in rows])
    known = all(len(one.values) > 1 for one in rows[0])
    join = np.concatenate if known and not by_class else lambda parts: np.mean(parts, axis=0)
    table = np.stack([join([one.values for one in row]) for row in rows])
    sizes = join([one.sizes for one in rows[0]])
    return np.asarray(table - table.mean() * (sizes - 1))


def _numbered(ways: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Numbers the classes of all parts, each of which has classes of its own, from 0 on."""
    found: list[NDArray[np.int64]] = []
    for own in ways:
        if own is None:
            return None
        found.append(np.unique(own, return_inverse=True)[1].reshape(own.shape) + (found[-1].max() + 1 if found else 0))
    return np.concatenate(found) if found else None


def unit_outcomes(directory: str, metric: str) -> Outcomes | None:
    """Reads what a cell measured on each unit: near-copies together, in the order of their groups.

    Args:
        directory: the cell's.
        metric: a column of the summary.

    Returns:
        ``None`` if only the metric itself is known.
    """
    path = Path(directory, "metrics.npz").absolute()
    return _read(path, path.stat().st_mtime_ns, metric.removeprefix("metric.")) if path.exists() else None


@lru_cache(maxsize=512)
def _read(path: Path, _changed: int, name: str) -> Outcomes | None:
    with np.load(path) as arrays:
        if f"outcome.{name}" not in arrays:
            return None
        outcomes, units = arrays[f"outcome.{name}"].astype(float), arrays[f"unit.{name}"]
        ways = arrays.get(f"ways.{name}")
    # Each unit counts by its number of images, so that the mean over units is that over images.
    scale = (units.max() + 1) / len(outcomes)
    return Outcomes(np.bincount(units, outcomes) * scale, np.bincount(units) * scale, ways)
