"""Losses side by side: means over seeds, and differences to cross-entropy paired over seeds."""

from typing import Any

import pandas as pd

from clce_bench.evaluation.statistics import mean_interval, paired_difference

PAIR = ["seed", "fold"]
DATA = ["dataset", "images_per_class"]
AXES = [*DATA, "batch_size", "loss", "lambda"]
LOSS_ORDER = ["ce", "supcon", "schane", "clce", "tcl", "ntxent", "hcl"]


def grid_rows(summary: pd.DataFrame, grid: str) -> pd.DataFrame:
    """Returns the rows of the cells that belong to a grid."""
    return summary[[grid in names.split() for names in summary["grids"]]]


def metrics_of(rows: pd.DataFrame) -> list[str]:
    """Lists the metrics that any of these cells has, without those that only describe a spread."""
    names = [name for name in rows.columns if name.startswith("metric.") and not name.endswith("_std")]
    return [name for name in names if rows[name].notna().any()]


def compare(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compares the settings of a grid.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``, in [0, 1].

    Returns:
        One row per setting: the axes, hyper-parameters that vary among cells of the same axes, ``mean``, ``low``,
        ``high``, ``n`` (finished seeds), ``diverged``, ``overlap`` (with the pre-training), and ``difference``,
        ``difference_low``, ``difference_high``, ``pairs`` against cross-entropy on the same images, batch size, seeds
        and folds; in per cent and points.
    """
    varying = [
        column
        for column in rows.columns
        if column.startswith(("loss.", "recipe."))
        and (rows.groupby(AXES, dropna=False)[column].nunique(dropna=False) > 1).any()
    ]
    table = []
    for key, members in rows.groupby([*AXES, *varying], dropna=False):
        setting = dict(zip([*AXES, *varying], key, strict=True))
        finished = members.dropna(subset=[metric]).set_index(PAIR)[metric] * 100
        entry = {
            **setting,
            **mean_interval(finished)._asdict(),
            "overlap": members["overlap"].iloc[0],
            "diverged": int((members["status"] == "diverged").sum()),
        }
        baseline = _baseline(rows, setting, metric)
        if setting["loss"] != "ce" and baseline is not None:
            shared = finished.index.intersection(baseline.index)
            difference = paired_difference(finished[shared], baseline[shared])
            names = ("difference", "difference_low", "difference_high", "pairs")
            entry |= dict(zip(names, difference, strict=True))
        table.append(entry)
    columns = [*AXES, *varying, "overlap", "mean", "low", "high", "n", "diverged"]
    columns += ["difference", "difference_low", "difference_high", "pairs"]
    frame = pd.DataFrame(table).reindex(columns=columns)
    order = frame["loss"].map(lambda name: LOSS_ORDER.index(name) if name in LOSS_ORDER else len(LOSS_ORDER))
    return (
        frame.assign(order=order)
        .sort_values([*DATA, "batch_size", "order", "loss", "lambda", *varying])
        .drop(columns="order")
    )


def _baseline(rows: pd.DataFrame, setting: dict[str, Any], metric: str) -> "pd.Series[float] | None":
    same = rows[rows["loss"] == "ce"]
    for axis in (*DATA, "batch_size"):
        same = same[same[axis].isna() if pd.isna(setting[axis]) else same[axis] == setting[axis]]
    same = same.dropna(subset=[metric])
    # Several cross-entropy settings (a sweep of its learning rate) leave no one baseline.
    return None if same.empty or same.duplicated(PAIR).any() else same.set_index(PAIR)[metric] * 100
