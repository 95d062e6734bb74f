"""The plain bootstrap over seeds and units, for those who ask for it; no verdict rests on it."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clce_bench.seeds import seed_for

RESAMPLES = 10_000
UNITS = 2_000
"""Units, at most, that the bootstrap resamples; more are merged at random."""


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
