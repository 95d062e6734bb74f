"""What the comparisons of an experiment can show, from its own cells, from the nearest experiment, or from defaults."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clce_bench.analysis.claims.compared import ComparedClaim
from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.paired_outcomes import RUN
from clce_bench.analysis.power import Spread, seeds_needed, smallest_visible, spread_of, units_needed
from clce_bench.analysis.rounds import last_levels
from clce_bench.analysis.summary import summary_table
from clce_bench.analysis.summary_rows import AXES, metrics_of
from clce_bench.components.loss_info import NO_TRAINING
from clce_bench.components.registry import load_dataset
from clce_bench.experiment.claims import PAGE_ALPHA, parse_claim
from clce_bench.labels import is_main
from clce_bench.planning.plan import Plan

DEFAULT = Spread(seeds=0, units=1000, seed=0.5, unit=50.0, rest=500.0)
"""Variances of a difference of accuracies, in points², where nothing was measured: answers that differ on one image in
twenty, with a thousand test images."""


@dataclass(frozen=True)
class Visible:
    """What one comparison can show.

    Attributes:
        claim: its claim's short name.
        setting: where it is made.
        alpha: the level at which verdicts look.
        seeds: as many as the experiment has.
        units: test images, or classes of episodes.
        smallest: the difference that is found four times in five, in points; ``None`` for fewer than three seeds.
        source: where the variances come from.
        seeds_needed: for the difference that was asked for; ``None`` if no number is enough.
        units_needed: test images for it with these seeds; ``None`` if no number is enough.
    """

    claim: str
    setting: str
    alpha: float
    seeds: int
    units: int
    smallest: float | None
    source: str
    seeds_needed: int | None = None
    units_needed: int | None = None


def visible_of(plan: Plan, difference: float | None = None) -> list[Visible]:
    """Says what each comparison of an experiment can show.

    Args:
        plan: its claims say what is compared; each loss with cross-entropy where it has none. With all its rounds of
            seeds, if it has any.
        difference: what it should show, in points.
    """
    experiment, summary = plan.experiment, summary_table(plan)
    claims = [claim for claim in experiment.claims if isinstance(claim, ComparedClaim)]
    shares = dict(zip([claim.id for claim in experiment.claims], last_levels(experiment, summary), strict=True))
    if not claims:
        claims = _against_cross_entropy(summary)
    measured = {(claim.id, label): result for claim in claims for label, result in _pairs(claim, summary)}
    known = {key: spread for key, result in measured.items() if (spread := spread_of(result))}
    nearest = _median(list(known.values())) if known else None
    source = "other comparisons of this experiment"
    if nearest is None:
        nearest, source = _nearest(plan) or (DEFAULT, "defaults")
    found = []
    for claim in claims:
        results = list(_to_come(claim, summary))
        judged = sum(not result.these_classes for _, result in results)
        alpha = claim.level(shares.get(claim.id, PAGE_ALPHA), judged)
        for label, result in results:
            spread = known.get((claim.id, label))
            origin = "its own cells" if spread else source
            spread = (spread or nearest)._replace(seeds=result.runs)
            enough = result.runs >= 3
            found.append(
                Visible(
                    claim.id,
                    label,
                    alpha,
                    result.runs,
                    spread.units,
                    smallest_visible(spread, alpha) if enough else None,
                    origin,
                    seeds_needed(spread, difference, alpha) if difference else None,
                    units_needed(spread, difference, alpha) if difference and enough else None,
                )
            )
    return found


def _against_cross_entropy(summary: pd.DataFrame) -> list[ComparedClaim]:
    """Makes the claim that each loss is above cross-entropy; none where there is no other loss."""
    losses = sorted(set(summary["loss"]) - {"ce", NO_TRAINING})
    metrics = [name.removeprefix("metric.") for name in metrics_of(summary) if is_main(name)] or ["top1"]
    values = {"id": "against-ce", "statement": "Each loss against cross-entropy.", "paper": "", "place": ""}
    sides = {"first": {"loss": losses}, "second": {"loss": "ce"}}
    return [parse_claim({**values, **sides, "metric": metrics})] if losses else []  # type: ignore[list-item]


def _pairs(claim: ComparedClaim, summary: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
    sides = claim.cells(claim.rows(summary))
    if not any(side.empty for side in sides):
        yield from ((label, result) for label, result in claim.compare(*sides) if result.runs)


def pairs_to_come(plan: Plan, claim: ComparedClaim) -> list[tuple[str, Contrast]]:
    """Lists the comparisons that an experiment will make for a claim, with labels; their values mean nothing."""
    return list(_to_come(claim, summary_table(plan)))


def _to_come(claim: ComparedClaim, summary: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
    return _pairs(claim, _as_if_finished(claim, summary))


def _as_if_finished(claim: ComparedClaim, summary: pd.DataFrame) -> pd.DataFrame:
    """Gives cells that are still to run the results that they can have, so that what will be compared can be listed."""
    few_shot = summary["dataset"].map(lambda name: load_dataset(name).task == "few-shot")
    filled = {"validation": summary.get("validation", pd.Series(np.nan, summary.index)).fillna(0.0)}
    for name in claim.metric:
        column = summary.get(f"metric.{name}", pd.Series(np.nan, summary.index))
        filled[f"metric.{name}"] = column.fillna(0.0).where(few_shot == name.startswith("fewshot_"))
    return summary.assign(**filled)


def _median(spreads: list[Spread]) -> Spread:
    middle = np.median(np.array(spreads), axis=0)
    return Spread(int(middle[0]), int(middle[1]), *middle[2:].tolist())


def _table(path: Path) -> pd.DataFrame | None:
    """Reads the summary of another experiment; ``None`` where it is damaged, or by code that wrote other columns."""
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return rows if {*AXES, *RUN, "cell", "directory", "grids", "test_to_train", "validation"} <= set(rows) else None


def _nearest(plan: Plan) -> tuple[Spread, str] | None:
    """Takes the spread from the experiment at hand that shares most data sets, the latest of equals."""
    own = {cell.dataset for cell in plan.cells}
    places = [path for path in plan.folder.parent.glob("*/summary.parquet") if path.parent != plan.folder]
    tables = {path: rows for path in places if (rows := _table(path)) is not None}

    def closeness(path: Path) -> tuple[int, float]:
        return len(own & set(tables[path]["dataset"])), path.stat().st_mtime

    for path in sorted(tables, key=closeness, reverse=True):
        rows = tables[path]
        results = [result for claim in _against_cross_entropy(rows) for _, result in _pairs(claim, rows)]
        if spreads := [spread for result in results if (spread := spread_of(result))]:
            return _median(spreads), f"the experiment {path.parent.name}"
    return None
