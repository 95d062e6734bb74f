"""What a reader must know before believing a number."""

import pandas as pd

from clce_bench.analysis.summary_labels import data_label
from clce_bench.analysis.summary_rows import AXES, grid_rows
from clce_bench.experiment.hazards import HAZARDS
from clce_bench.experiment.schema import Grid
from clce_bench.labels import setting_label
from clce_bench.report.code_and_machines import mixtures

FEW_SEEDS = 5
EXAMPLES = 5


def warnings_of(summary: pd.DataFrame, grids: list[str]) -> list[str]:
    """Lists what weakens the results.

    Args:
        summary: all cells.
        grids: names.
    """
    found = [_holes(summary, grids), *mixtures(summary, grids), _accepted(summary), _overlap(summary)]
    return [text for text in (*found, _views(summary, grids), _few_seeds(summary)) if text]


def hazards_of(grids: list[Grid]) -> list[str]:
    """Says which rules an experiment breaks on purpose, what that does, and where."""
    return [
        f"{name}: {meaning} (in {', '.join(grid.name for grid in grids if name in grid.hazards)})"
        for name, meaning in HAZARDS.items()
        if any(name in grid.hazards for grid in grids)
    ]


def _holes(summary: pd.DataFrame, grids: list[str]) -> str:
    counts = summary["status"].value_counts()
    if counts.get("done", 0) == len(summary):
        return ""
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    holes = []
    for grid in grids:
        rows = grid_rows(summary, grid)
        for _, members in rows.groupby(AXES, dropna=False):
            done = int((members["status"] == "done").sum())
            if done < len(members):
                axes = members.iloc[0]
                where = f"{setting_label(axes['loss'], axes['lambda'])}, batch {axes['batch_size']}"
                name = data_label(axes["dataset"], axes["images_per_class"], axes["label_noise"])
                holes.append(f"{grid}: {where}, {name}: {done} of {len(members)}")
    shown = "; ".join(holes[:EXAMPLES]) + (f"; and {len(holes) - EXAMPLES} more" if len(holes) > EXAMPLES else "")
    return f"Not all cells are done: {states}. The numbers leave out cells without a result. Holes: {shown}."


def _accepted(summary: pd.DataFrame) -> str:
    reasons = summary["accepted"].replace("", None).dropna()
    listing = "; ".join(f"{count} × {reason}" for reason, count in reasons.value_counts().items())
    return f"Made by earlier code, which was declared to give the same results: {listing}." if listing else ""


def _overlap(summary: pd.DataFrame) -> str:
    seen = summary[summary["overlap"] != "no"].groupby("overlap")["dataset"].unique()
    parts = [f"{', '.join(sorted(names))} ({verdict})" for verdict, names in seen.items()]
    return f"The backbone's pre-training overlaps with data sets: {'; '.join(parts)}." if parts else ""


def _views(summary: pd.DataFrame, grids: list[str]) -> str:
    fewer = []
    for grid in grids:
        rows = grid_rows(summary, grid)
        # A hazard of its own has its banner.
        rows = rows[["unequal-views" not in hazards.split(", ") for hazards in rows["hazards"]]]
        views, ce = rows["recipe.views"], rows["loss"] == "ce"
        if views[ce].min() < views[~ce].max():
            fewer.append(grid)
    if not fewer:
        return ""
    return f"Cross-entropy's recipe has fewer views of an image in a step than other losses': {', '.join(fewer)}."


def _few_seeds(summary: pd.DataFrame) -> str:
    # A trial of a search has no metrics: it decides nothing by itself.
    done = summary[(summary["status"] == "done") & summary.filter(like="metric.").notna().any(axis=1)]
    counts = done.groupby(AXES, dropna=False)["seed"].nunique()
    few = counts[counts < FEW_SEEDS]
    if few.empty:
        return ""
    least = int(few.min())
    alone = " A single seed has no interval at all." if least == 1 else ""
    return (
        f"Few seeds: {len(few)} of {len(counts)} settings have fewer than {FEW_SEEDS}, the least n = {least}. "
        f"Intervals from so few are wide and rest on the assumption that results vary normally.{alone}"
    )
