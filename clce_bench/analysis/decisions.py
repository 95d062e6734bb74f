"""The decision table of verdicts: from an interval, a margin and a size to exactly one category."""

from typing import Literal

from clce_bench.analysis.intervals import Interval

Category = Literal["reproduced", "reproduced, smaller than claimed", "equivalent", "contradicted", "undecided"]
REPRODUCED: tuple[Category, ...] = ("reproduced", "reproduced, smaller than claimed")


def decide(
    interval: Interval, inner: Interval, margin: float, tolerance: float = 0.0, size: float | None = None
) -> Category:
    """Puts a comparison, positive in the direction that is claimed, into its category: the first that holds.

    ==================================  =========================================================================
    reproduced                          the interval is above 0 (or above minus the tolerance); not where it
                                        tolerates nothing and no difference beyond the margin is left
    reproduced, smaller than claimed    likewise, and below the size
    equivalent                          the inner interval is within the margin: two one-sided tests
                                        (Schuirmann, 1987)
    contradicted                        the interval is below 0 (or below minus the tolerance)
    undecided                           all else, and where there is no interval
    ==================================  =========================================================================

    Args:
        interval: at confidence 1 − α.
        inner: of the same mean, at confidence 1 − 2α.
        margin: the smallest difference that matters, ≥ 0.
        tolerance: how far below 0 still counts as what is claimed, ≥ 0.
        size: what is claimed for this very setting, where that is known.
    """
    inside = -margin < inner.low and inner.high < margin
    if interval.low > -tolerance and (tolerance > 0 or not inside):
        return REPRODUCED[size is not None and interval.high < size]
    if inside:
        return "equivalent"
    return "contradicted" if interval.high < -tolerance else "undecided"
