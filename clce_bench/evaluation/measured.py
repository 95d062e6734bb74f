"""What was measured of a cell, and which images are looked at where there are very many."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.evaluation.probe import LinearProbe
from clce_bench.seeds import seed_for

NOT_FINITE = "not a finite number: the features have collapsed or overflowed"


class Measured(NamedTuple):
    """What is known of a cell.

    Attributes:
        metrics: scalars by name.
        arrays: what lies behind them, by name; docs/statistics.md lists them.
        absent: what could not be measured, with the reason.
        probe: the linear probe, where one was fitted.
    """

    metrics: dict[str, float]
    arrays: dict[str, NDArray[Any]]
    absent: dict[str, str] = {}
    probe: LinearProbe | None = None

    def without_non_finite(self) -> "Measured":
        """Leaves out metrics that are no finite numbers, and says so in ``absent``."""
        gone = {name for name, value in self.metrics.items() if not np.isfinite(value)}
        metrics = {name: value for name, value in self.metrics.items() if name not in gone}
        arrays = {name: array for name, array in self.arrays.items() if name.partition(".")[2] not in gone}
        return self._replace(metrics=metrics, arrays=arrays, absent={**self.absent, **dict.fromkeys(gone, NOT_FINITE)})


def at_most(most: int, images: int, purpose: str) -> NDArray[np.int64]:
    """Chooses so many of the images, in their order: the same ones wherever there are as many images."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(seed_for(purpose, images=images)).choice(images, most, replace=False))
