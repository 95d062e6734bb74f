"""Verdicts on the claims of papers.

A claim is *reproduced* when every comparison that speaks to it lies, with its whole 95 % interval, on the claimed side:
all must agree, so none needs a correction for their number. It is *contradicted* when one lies on the other side with a
p-value below 0.05 after Holm's correction over the claim's comparisons. Otherwise it is *inconclusive*; *not tested*
where the experiment has no results for it.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.comparisons import DATA, hazards_in
from clce_bench.analysis.paired_outcomes import Contrast
from clce_bench.analysis.statistics import holm
from clce_bench.analysis.verdicts import Finding, Outcome, Verdict
from clce_bench.experiment.claims import Claim, Selector
from clce_bench.labels import data_label

__all__ = ["PLACE", "all_above", "finding", "hazards_in", "not_tested", "select", "verdict", "where"]

LEVEL = 0.05
PLACE = [*DATA, "backbone", "batch_size", "lambda"]


def all_above(claim: Claim, found: list[Finding], bound: float) -> Verdict:
    """Judges a claim that asks every comparison to lie above a bound.

    Args:
        claim: the claim.
        found: its comparisons, at least one.
        bound: in points; negative where the claim tolerates a loss.
    """
    corrected = holm([np.nan if one.p is None else one.p for one in found])
    against = [k for k, one in enumerate(found) if corrected[k] < LEVEL and one.effect < bound]
    if against:
        worst = min(against, key=lambda k: corrected[k])
        reason = f"{found[worst].setting}: on the other side (p = {corrected[worst]:.2g} after Holm's correction)."
        return verdict(claim, "contradicted", reason, found, worst, float(corrected[worst]))
    weakest = min(range(len(found)), key=lambda k: -math.inf if found[k].low is None else found[k].low or 0.0)
    many = "the only comparison" if len(found) == 1 else f"all {len(found)} comparisons"
    if all(one.low is not None and one.low > bound for one in found):
        within = f"above −{-bound:g} points" if bound else "above 0"
        return verdict(claim, "reproduced", f"The interval of {many} lies {within}.", found, weakest)
    single = [one for one in found if one.low is None]
    clear = sum(one.low is not None and one.low > bound for one in found)
    reason = f"{clear} of {len(found)} comparisons are clearly on the claimed side, none clearly on the other."
    if single:
        reason += f" {len(single)} rest on one seed and have no interval."
    return verdict(claim, "inconclusive", reason, found, weakest)


def finding(setting: str, result: Contrast, bound: float) -> Finding:
    """Makes a finding of a comparison.

    Args:
        setting: where it was made.
        result: what was found there.
        bound: what the p-value is against, in points.
    """
    effect, low, high, runs, _ = result.interval
    p = result.shifted(-bound).interval.p
    return Finding(setting, effect, _known(low), _known(high), _known(p), runs, result.cells)


def not_tested(claim: Claim, reason: str) -> Verdict:
    """Says why nothing is known."""
    return verdict(claim, "not tested", reason, [])


def verdict(
    claim: Claim, outcome: Outcome, reason: str, found: list[Finding], deciding: int = 0, p: float | None = None
) -> Verdict:
    """Writes a verdict down.

    Args:
        claim: what is judged.
        outcome: how.
        reason: why, in a sentence.
        found: all comparisons.
        deciding: which of them decides.
        p: its p-value where that was corrected.
    """
    by = found[deciding] if found else Finding("", math.nan, None, None, None, 0, ())
    return Verdict(
        claim=claim.id,
        statement=claim.statement,
        paper=claim.paper,
        place=claim.place,
        verdict=outcome,
        effect=_known(by.effect),
        low=by.low,
        high=by.high,
        p=by.p if p is None else p,
        seeds=by.seeds,
        cells=tuple(sorted({cell for one in found for cell in one.cells})),
        reason=reason,
        findings=tuple(found),
    )


def select(rows: pd.DataFrame, selector: Selector) -> pd.DataFrame:
    """Returns the cells that have one of the values of each axis; none where an axis does not exist."""
    for axis, values in selector.items():
        rows = rows[rows[axis].isin(values)] if axis in rows else rows[:0]
    return rows


def where(setting: dict[str, Any]) -> str:
    """Names the data set and the batch size of a comparison."""
    batch = [f"batch {setting['batch_size']}"] if "batch_size" in setting else []
    return ", ".join([data_label(setting["dataset"], setting["images_per_class"]), *batch])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
