"""How much of a claim's error rate each look may spend, when its seeds come in rounds.

A spending function says what may be spent by the time a share t of all seeds is there (Lan and DeMets, Biometrika 70,
1983). A look tests at what it adds. The sum over all looks is α, so that whatever looks have in common, together they
err at most that often: exact boundaries would need to know how looks correlate, which depends on how much of the
variance lies in the test images that they share.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from scipy.special import ndtr, ndtri

Spending = Callable[[float, float], float]
"""From α and a share in (0, 1] of all seeds to what may be spent by then."""


def obrien_fleming(alpha: float, share: float) -> float:
    """Spends next to nothing early: like the boundaries of O'Brien and Fleming (1979), by Lan and DeMets (1983)."""
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(share)))


def pocock(alpha: float, share: float) -> float:
    """Spends most early: like the boundaries of Pocock (1977), by Lan and DeMets (1983)."""
    return alpha * math.log(1 + (math.e - 1) * share)


def power_family(exponent: float) -> Spending:
    """Spends α · t^exponent (Kim and DeMets, Biometrika 74, 1987).

    Args:
        exponent: > 0; at 1 evenly, the larger the later.
    """
    return lambda alpha, share: float(alpha * share**exponent)


SPENDING: Spending = power_family(2)
"""What claims use: of those compared in docs/benchmarks/sequential.md it saves nearly as much as those that spend
early, and decides nearly as often as those that spend late."""


def levels(alpha: float, counts: Sequence[int], spending: Spending = SPENDING) -> list[float]:
    """Lists the level of each look.

    Args:
        alpha: what all looks together may spend, in (0, 1).
        counts: seeds at each look, rising; with the last all are there.
        spending: how.
    """
    spent = [0.0, *(spending(alpha, count / counts[-1]) for count in counts)]
    return [after - before for before, after in pairwise(spent)]
