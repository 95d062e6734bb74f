"""Beside an interval: p-values corrected for being many, and effect sizes in standard deviations."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Corrects p-values for being many (Holm, Scandinavian Journal of Statistics 6, 1979); NaN stays and counts not.

    Args:
        p: the p-values of one table.
    """
    values = np.asarray(p, dtype=float)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[values[known].argsort(kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(steps).clip(max=1)
    return corrected


def effect_size(differences: ArrayLike) -> float:
    """Computes Hedges' g of paired differences: their mean in standard deviations, corrected for few values.

    Args:
        differences: one per seed; NaN is returned for fewer than two, or if all are equal.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 2 or np.ptp(values) == 0:
        return float("nan")
    correction = np.exp(gammaln((n - 1) / 2) - gammaln((n - 2) / 2)) * (2 / (n - 1)) ** 0.5 if n > 2 else 1.0
    return float(correction * values.mean() / values.std(ddof=1))
