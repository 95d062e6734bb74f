"""Verdicts on the claims of papers.

Each comparison that speaks to a claim is put into a category (:mod:`clce_bench.analysis.decisions`) at the claim's
share α of the page's 5 %. A claim is *reproduced* or *equivalent* when all its comparisons are: all must agree, so none
needs a correction for their number. It is *contradicted* when one is, at α over their number. Otherwise it is
*undecided*; *not tested* where the experiment has no results for it. Few-shot comparisons of one split of the classes
decide nothing.
"""

import math
from collections import Counter
from typing import Any

import pandas as pd

from clce_bench.analysis.claims.compared import ComparedClaim
from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.decisions import REPRODUCED, decide
from clce_bench.analysis.power import seeds_needed, smallest_visible, spread_of
from clce_bench.analysis.summary_labels import data_label
from clce_bench.analysis.summary_rows import DATA, hazards_in
from clce_bench.analysis.verdicts import Finding, Outcome, Verdict
from clce_bench.experiment.claims import Claim, Selector

__all__ = [
    "PLACE",
    "all_agree",
    "finding",
    "hazards_in",
    "not_tested",
    "of_these_classes",
    "select",
    "verdict",
    "where",
]

PLACE = [*DATA, "backbone", "batch_size", "lambda"]


def all_agree(claim: ComparedClaim, found: list[Finding], alpha: float) -> Verdict:
    """Judges a claim that asks all comparisons to agree.

    Args:
        claim: the claim.
        found: its comparisons, at least one.
        alpha: the claim's share of the page's error rate.
    """
    known = [one for one in found if not one.these_classes]
    if not known:
        return of_these_classes(claim, found, alpha)
    outcomes = {one.outcome for one in known}
    many = "the only comparison" if len(known) == 1 else f"all {len(known)} comparisons"
    weakest = min(known, key=lambda one: -math.inf if one.low is None else one.low)
    if "contradicted" in outcomes:
        worst = min((one for one in known if one.outcome == "contradicted"), key=lambda one: one.effect)
        return verdict(claim, "contradicted", f"{worst.setting}: on the other side.", found, worst, alpha)
    if outcomes <= set(REPRODUCED):
        above = f"above −{claim.tolerated:g} points" if claim.tolerated else "above 0"
        smaller = REPRODUCED[1] in outcomes
        below = f" and below the {claim.size:g} points that are claimed" if smaller else ""
        reason = f"The interval of {many} lies {above}{below}."
        return verdict(claim, REPRODUCED[smaller], reason, found, weakest, alpha)
    if outcomes == {"equivalent"}:
        reason = f"No difference beyond {claim.margin:g} points is left in {many} (two one-sided tests)."
        return verdict(claim, "equivalent", reason, found, weakest, alpha)
    counts = Counter(one.outcome for one in known)
    reason = "Of the comparisons, " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) + "."
    open_ones = [one for one in known if one.outcome == "undecided"]
    least = max(open_ones or known, key=lambda one: one.smallest_visible or math.inf)
    return verdict(claim, "undecided", f"{reason} {_what_it_takes(claim, least)}", found, weakest, alpha)


def _what_it_takes(claim: ComparedClaim, one: Finding) -> str:
    if one.low is None or one.high is None:
        return f"{one.setting}: no interval can be known from {one.seeds} seed{'s' if one.seeds != 1 else ''}."
    half = f"{one.setting}: ± {(one.high - one.low) / 2:.2f} points"
    if one.smallest_visible is None:
        return f"{half}."
    needed = (
        f"{one.seeds_needed} seeds would show {claim.margin:g}"
        if one.seeds_needed
        else f"no number of seeds would show {claim.margin:g}: test images are the limit"
    )
    return f"{half}; it could have shown {one.smallest_visible:.2f} points, {needed}."


def of_these_classes(claim: ComparedClaim, found: list[Finding], alpha: float) -> Verdict:
    """Leaves open what was seen for the novel classes of one split only."""
    reason = "All comparisons are for these classes only: the classes were split once, and other ones may differ."
    weakest = min(found, key=lambda one: -math.inf if one.low is None else one.low)
    return verdict(claim, "undecided", reason, found, weakest, alpha)


def finding(claim: ComparedClaim, setting: str, result: Contrast, alpha: float, judged: int) -> Finding:
    """Makes a finding of a comparison.

    Args:
        claim: what it speaks to.
        setting: where it was made.
        result: what was found there.
        alpha: the claim's share of the page's error rate.
        judged: how many comparisons may contradict the claim.
    """
    level = claim.level(alpha, judged)
    interval, inner = result.at(1 - level), result.at(1 - 2 * level)
    outcome = decide(interval, inner, claim.margin, claim.tolerated, claim.size)
    if outcome == "contradicted" and not result.at(1 - alpha / max(judged, 1)).high < -claim.tolerated:
        outcome = "undecided"
    p = result.shifted(claim.tolerated).interval.p
    spread = spread_of(result)
    return Finding(
        setting,
        interval.mean,
        _known(interval.low),
        _known(interval.high),
        _known(p),
        result.runs,
        result.cells,
        outcome,
        result.these_classes,
        smallest_visible(spread, level) if spread else None,
        seeds_needed(spread, claim.margin, level) if spread and outcome == "undecided" else None,
    )


def not_tested(claim: Claim, reason: str) -> Verdict:
    """Says why nothing is known."""
    return verdict(claim, "not tested", reason, [])


def verdict(
    claim: Claim, outcome: Outcome, reason: str, found: list[Finding], by: Finding | None = None, alpha: float = 0.0
) -> Verdict:
    """Writes a verdict down.

    Args:
        claim: what is judged.
        outcome: how.
        reason: why, in a sentence.
        found: all comparisons.
        by: which of them decides.
        alpha: the claim's share of the page's error rate.
    """
    return Verdict(
        claim=claim.id,
        statement=claim.statement,
        paper=claim.paper,
        place=claim.place,
        verdict=outcome,
        effect=by.effect if by else None,
        low=by.low if by else None,
        high=by.high if by else None,
        p=by.p if by else None,
        seeds=by.seeds if by else 0,
        cells=tuple(sorted({cell for one in found for cell in one.cells})),
        reason=reason,
        findings=tuple(found),
        alpha=alpha,
        margin=getattr(claim, "margin", None),
        size=getattr(claim, "size", None),
        smallest_visible=by.smallest_visible if by else None,
    )


def select(rows: pd.DataFrame, selector: Selector) -> pd.DataFrame:
    """Returns the cells that have one of the values of each axis; none where an axis does not exist."""
    for axis, values in selector.items():
        rows = rows[rows[axis].isin(values)] if axis in rows else rows[:0]
    return rows


def where(setting: dict[str, Any]) -> str:
    """Names the data set and the batch size of a comparison."""
    batch = [f"batch {setting['batch_size']}"] if "batch_size" in setting else []
    return ", ".join([data_label(setting["dataset"], setting["images_per_class"], setting["label_noise"]), *batch])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
