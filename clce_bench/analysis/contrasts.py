"""Weighted sums of settings, such as a loss minus another: what was found, and the intervals over it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clce_bench.analysis.intervals import (
    MIN_SEEDS,
    Interval,
    class_interval,
    crossed_interval,
    mean_interval,
    split_interval,
)
from clce_bench.analysis.significance import effect_size


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
        """How many runs (seeds, over all splits and folds) are behind it."""
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

    @cached_property
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

    @cached_property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return self.at(0.95)

    @cached_property
    def corrected(self) -> Interval:
        """The interval over parts that test in turn, corrected for what their training sets share; unknown without."""
        return self._over_parts(0.95)

    def _over_parts(self, confidence: float) -> Interval:
        means = [mean for parts in self.parts.values() for mean in parts.mean(axis=0)]
        return split_interval(means, self.test_to_train, self.runs, confidence)

    @cached_property
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
