"""Which rows and columns of the summary: by grid, by figure, by axes, by metric."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.summary_labels import is_accuracy
from clce_bench.experiment.figure_options import Figure
from clce_bench.experiment.hazards import known_hazards
from clce_bench.labels import is_main
from clce_bench.planning.figure_cells import matches

DATA = ["dataset", "images_per_class", "label_noise"]
PLACE = [*DATA, "backbone", "batch_size"]
AXES = [*PLACE, "loss", "lambda", "hazards"]
ORIGIN = ("device", "platform", "host", "versions", "torch", "git_commit", "code", "evaluate_code", "accepted")
"""Columns that say where a number comes from; empty for cells without one."""
Row = dict[str, Any]
"""What the summary says of a cell, or of cells that share it: values by column."""


def as_rows(cells: pd.DataFrame) -> list[Row]:
    """Lists cells one by one: pandas takes longer to pick a few of them than all statistics over them take.

    Args:
        cells: from the summary.

    Returns:
        What is missing is one and the same ``np.nan``, so that it equals itself in tuples and in sets.
    """
    names = list(map(str, cells.columns))
    columns = [_values(cells[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: "pd.Series[Any]") -> list[Any]:
    return [
        np.nan if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)
    ]


def grid_rows(summary: pd.DataFrame, grid: str) -> pd.DataFrame:
    """Returns the rows of the cells that belong to a grid."""
    return summary[[grid in names.split() for names in summary["grids"]]]


def figure_rows(figure: Figure, summary: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the cells that a figure shows."""
    rows = summary[[bool(set(figure.grid) & set(names.split())) for names in summary["grids"]]]
    return rows[[matches(record, figure.where) for record in rows.to_dict("records")]]


def matching(rows: pd.DataFrame, place: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the cells that have these values; NaN equals NaN.

    Args:
        rows: cells, from the summary.
        place: values by axis.
    """
    kept = np.ones(len(rows), dtype=bool)
    for axis, value in place.items():
        kept &= (rows[axis].isna() if pd.isna(value) else rows[axis] == value).to_numpy(dtype=bool)
    return rows[kept]


def known(cells: list[Row], column: str) -> list[Row]:
    """Picks the cells that have a value in a column, if there is such a column.

    Args:
        cells: from :func:`as_rows`.
        column: such as ``metric.top1``.
    """
    return [cell for cell in cells if cell.get(column, np.nan) is not np.nan]


def hyperparameter_columns(names: Iterable[Any]) -> list[str]:
    """Picks the columns of hyper-parameters, ``loss.…`` and ``recipe.…``, among others.

    Args:
        names: of columns; a table stands for its own.
    """
    return [name for name in map(str, names) if name.startswith(("loss.", "recipe."))]


def metrics_of(rows: pd.DataFrame, accuracy: bool = True) -> list[str]:
    """Lists the metrics that any of these cells has.

    Args:
        rows: cells, from the summary.
        accuracy: accuracies only; otherwise everything else but spreads too.
    """
    names = [name for name in rows.columns if name.startswith("metric.") and not name.endswith("_std")]
    return [name for name in names if rows[name].notna().any() and (is_accuracy(name) or not accuracy)]


def chosen_metrics(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """Lists the columns of the metrics asked for that any of these cells has, or of the main accuracies.

    Args:
        rows: cells, from the summary.
        names: such as ``top1``; the main ones when empty.
    """
    if names:
        return [f"metric.{name}" for name in names if f"metric.{name}" in metrics_of(rows, accuracy=False)]
    return [name for name in metrics_of(rows) if is_main(name)]


def hazards_in(column: Iterable[str]) -> str:
    """Names the hazards that any of these cells has, as their own column does.

    Args:
        column: the hazards of each cell.
    """
    return ", ".join(known_hazards({name for hazards in set(column) for name in hazards.split(", ") if name}))
