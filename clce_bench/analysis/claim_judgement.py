"""Verdicts on the claims of papers.

A claim is *reproduced* when every comparison that speaks to it lies, with its whole 95 % interval, on the claimed side:
all must agree, so none needs a correction for their number. It is *contradicted* when one lies on the other side with a
p-value below 0.05 after Holm's correction over the claim's comparisons. Otherwise it is *inconclusive*; *not tested*
where the experiment has no results for it.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.comparisons import DATA, distinct_label, hazards_in, settings_of
from clce_bench.analysis.gradient_theorems import CHECKS, DRAWS
from clce_bench.analysis.paired_outcomes import RUN, Contrast, contrast
from clce_bench.analysis.statistics import holm
from clce_bench.analysis.verdicts import Finding, Outcome, Verdict
from clce_bench.experiment.claims import Claim
from clce_bench.labels import data_label, loss_label, metric_label

LEVEL = 0.05
PLACE = [*DATA, "backbone", "batch_size", "lambda"]


def verdict_on(claim: Claim, summary: pd.DataFrame) -> Verdict:
    """Judges a claim by the cells of an experiment.

    Args:
        claim: from the experiment file.
        summary: a row per cell.
    """
    if claim.kind == "theorem":
        return _theorem(claim)
    rows = _select(summary, claim.where)
    if claim.grids:
        rows = rows[[not set(claim.grids).isdisjoint(names.split()) for names in rows["grids"]]]
    else:
        rows = rows[rows["hazards"] == ""]
    first, second = _select(rows, claim.first), _select(rows, claim.second)
    for side, selector in ((first, claim.first), (second, claim.second)):
        if side.empty:
            axes = {**claim.where, **selector}.items()
            wanted = ", ".join(f"{axis} {' or '.join(map(str, values))}" for axis, values in axes)
            return _verdict(claim, "not tested", f"No cell of this experiment has {wanted}.", [])
    if claim.kind == "steadier":
        pairs = _steadier(claim, first, second)
    elif claim.kind == "interior":
        pairs = _interior(claim, first)
    else:
        pairs = _differences(claim, first, second)
    found = [_finding(claim, label, result) for label, result in pairs if result.runs]
    if not found:
        along = f" along {claim.over}" if claim.over else ""
        return _verdict(claim, "not tested", f"No results yet, or none that can be compared{along}.", [])
    verdict = _largest_gain(claim, found) if claim.kind == "largest_gain" else _judge(claim, found)
    hazards = hazards_in(rows[rows["cell"].isin(verdict.cells)])
    return replace(verdict, reason=f"{verdict.reason} With hazards: {hazards}.") if hazards else verdict


def _differences(claim: Claim, first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
    # Two contrastive losses are compared at equal λ; cross-entropy has none.
    shared = PLACE if (second["lambda"] > 0).all() else [axis for axis in PLACE if axis != "lambda"]
    for setting, one in settings_of(first):
        for rival, other in settings_of(_same(second, shared, setting)):
            for metric in _metrics(claim, one, other):
                sides = f"{distinct_label(setting, first)} − {distinct_label(rival, second)}"
                yield f"{_where(setting)}: {sides}, {metric_label(metric)}", contrast([(1, one), (-1, other)], metric)


def _steadier(claim: Claim, first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
    shared = [axis for axis in PLACE if axis != claim.over]
    for values, one in first.groupby(shared, dropna=False):
        setting = dict(zip(shared, values, strict=True))
        other = _same(second, shared, setting)
        for metric in _metrics(claim, one, other):
            finished = [side.dropna(subset=[metric]) for side in (one, other)]
            both = set.intersection(*(set(side[claim.over]) for side in finished))
            sides = [side[side[claim.over].isin(both)] for side in finished]
            if len(both) < 2 or any(side.duplicated([claim.over, *RUN]).any() for side in sides):
                continue
            ends = [_ends(side, claim.over) for side in sides]
            own, others = (_change(side, claim.over, metric, at) for side, at in zip(sides, ends, strict=True))
            terms = [*others, *((-weight, cells) for weight, cells in own)]
            yield (
                f"{_where(setting)}: {_along(claim.over, sides, ends)}, {metric_label(metric)}",
                contrast(terms, metric),
            )


def _ends(side: pd.DataFrame, over: str) -> tuple[Any, Any]:
    """Gives the smallest and the largest of numbers; of names the worst and the best by the validation part."""
    if pd.api.types.is_numeric_dtype(side[over]):
        return side[over].min(), side[over].max()
    order = side.groupby(over)["validation"].mean().sort_values(kind="stable").index
    return order[0], order[-1]


def _along(over: str, sides: list[pd.DataFrame], ends: list[tuple[Any, Any]]) -> str:
    changes = [f"from {start} to {end}" for start, end in ends]
    if changes[0] == changes[1]:
        return f"change along {over} {changes[0]}"
    names = [loss_label(side["loss"].iloc[0]) for side in sides]
    return f"change along {over}, " + ", ".join(f"{name} {change}" for name, change in zip(names, changes, strict=True))


def _change(side: pd.DataFrame, over: str, metric: str, ends: tuple[Any, Any]) -> list[tuple[float, pd.DataFrame]]:
    """Gives the terms of the absolute change from one end to the other."""
    start, end = (side[side[over] == value] for value in ends)
    sign = 1.0 if end[metric].mean() >= start[metric].mean() else -1.0
    return [(sign, end), (-sign, start)]


def _interior(claim: Claim, first: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
    shared = [axis for axis in PLACE if axis != claim.over]
    for values, members in first.groupby(shared, dropna=False):
        for metric in _metrics(claim, members, members):
            cells = members.dropna(subset=[metric])
            levels = sorted(cells[claim.over].unique())
            if len(levels) < 3 or cells.duplicated([claim.over, *RUN]).any():
                continue
            # The validation part chooses, so that the test part does not flatter the best of several.
            inside = cells[cells[claim.over].isin(levels[1:-1])]
            best = inside.groupby(claim.over)["validation"].mean().idxmax()
            for end in (levels[0], levels[-1]):
                terms = [(1.0, cells[cells[claim.over] == best]), (-1.0, cells[cells[claim.over] == end])]
                place = _where(dict(zip(shared, values, strict=True)))
                label = f"{place}: {claim.over} {best:g} − {claim.over} {end:g}, {metric_label(metric)}"
                yield label, contrast(terms, metric)


def _judge(claim: Claim, found: list[Finding]) -> Verdict:
    bound = -claim.tolerance
    corrected = holm([np.nan if finding.p is None else finding.p for finding in found])
    against = [k for k, finding in enumerate(found) if corrected[k] < LEVEL and finding.effect < bound]
    if against:
        worst = min(against, key=lambda k: corrected[k])
        reason = f"{found[worst].setting}: on the other side (p = {corrected[worst]:.2g} after Holm's correction)."
        return _verdict(claim, "contradicted", reason, found, worst, float(corrected[worst]))
    weakest = min(range(len(found)), key=lambda k: -math.inf if found[k].low is None else found[k].low or 0.0)
    many = "the only comparison" if len(found) == 1 else f"all {len(found)} comparisons"
    if all(finding.low is not None and finding.low > bound for finding in found):
        within = f"above −{claim.tolerance:g} points" if claim.tolerance else "above 0"
        return _verdict(claim, "reproduced", f"The interval of {many} lies {within}.", found, weakest)
    single = [finding for finding in found if finding.low is None]
    clear = sum(finding.low is not None and finding.low > bound for finding in found)
    reason = f"{clear} of {len(found)} comparisons are clearly on the claimed side, none clearly on the other."
    if single:
        reason += f" {len(single)} rest on one seed and have no interval."
    return _verdict(claim, "inconclusive", reason, found, weakest)


def _largest_gain(claim: Claim, found: list[Finding]) -> Verdict:
    assert claim.value is not None
    low, high = claim.value - claim.tolerance, claim.value + claim.tolerance
    largest = max(range(len(found)), key=lambda k: found[k].effect)
    finding = found[largest]
    outcome: Outcome = "inconclusive"
    if finding.low is not None and finding.high is not None:
        if low <= finding.low and finding.high <= high:
            outcome = "reproduced"
        elif finding.high < low or finding.low > high:
            outcome = "contradicted"
    reason = f"The largest gain is {finding.effect:+.2f} points ({finding.setting}); claimed: {claim.value:+.2f}."
    return _verdict(claim, outcome, reason, found, largest)


def _theorem(claim: Claim) -> Verdict:
    margin = CHECKS[claim.theorem]()
    holds = margin > 0
    reason = f"Computed, no cells: on {DRAWS:,} random anchors the smallest relative excess is {margin:.1e}."
    return _verdict(claim, "reproduced" if holds else "contradicted", reason, [])


def _finding(claim: Claim, setting: str, result: Contrast) -> Finding:
    effect, low, high, runs, _ = result.interval
    # Against the tolerance, where there is one: how sure is it that the first lies below?
    shifted = result.shifted(claim.tolerance if claim.kind == "difference" else 0.0)
    return Finding(setting, effect, _known(low), _known(high), _known(shifted.interval.p), runs, result.cells)


def _verdict(
    claim: Claim, outcome: Outcome, reason: str, found: list[Finding], deciding: int = 0, p: float | None = None
) -> Verdict:
    by = found[deciding] if found else Finding("", math.nan, None, None, None, 0, ())
    cells = tuple(sorted({cell for finding in found for cell in finding.cells}))
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
        cells=cells,
        reason=reason,
        findings=tuple(found),
    )


def _select(rows: pd.DataFrame, selector: dict[str, list[Any]]) -> pd.DataFrame:
    for axis, values in selector.items():
        rows = rows[rows[axis].isin(values)] if axis in rows else rows[:0]
    return rows


def _same(rows: pd.DataFrame, axes: list[str], setting: dict[str, Any]) -> pd.DataFrame:
    for axis in axes:
        rows = rows[rows[axis].isna() if pd.isna(setting[axis]) else rows[axis] == setting[axis]]
    return rows


def _metrics(claim: Claim, *sides: pd.DataFrame) -> list[str]:
    names = [f"metric.{name}" for name in claim.metric]
    return [name for name in names if all(name in side and side[name].notna().any() for side in sides)]


def _where(setting: dict[str, Any]) -> str:
    batch = [f"batch {setting['batch_size']}"] if "batch_size" in setting else []
    return ", ".join([data_label(setting["dataset"], setting["images_per_class"]), *batch])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
