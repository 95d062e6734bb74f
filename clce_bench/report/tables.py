"""Tables of the page as text: comparisons per grid and metric, other measurements, cells."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from clce_bench.evaluation.compare import AXES, compare, grid_rows, metrics_of
from clce_bench.labels import data_label, is_accuracy, loss_label, metric_label
from clce_bench.report.headline import table_rows

ROWS = 200
"""How many rows of a table the page shows at most; the rest is in the files beside it."""


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        title: what it shows.
        rows: text by column.
        left_out: how many rows the page leaves to the files beside it.
    """

    title: str
    rows: list[dict[str, Any]]
    left_out: int = 0


class Link(NamedTuple):
    """A cell of a table that leads somewhere.

    Attributes:
        text: what it says.
        target: a path relative to the page.
    """

    text: str
    target: str


def tables_of(grid: str, summary: pd.DataFrame) -> list[Table]:
    """Builds a table per accuracy, and one of all that is not an accuracy.

    Args:
        grid: its name.
        summary: all cells.
    """
    rows = grid_rows(summary, grid)
    metrics = metrics_of(rows)
    tables = []
    for metric in filter(is_accuracy, metrics):
        text = table_rows(compare(rows, metric), metric)
        tables.append(_cut(f"{grid}: {metric_label(metric)}", text))
    others = [metric for metric in metrics if not is_accuracy(metric)]
    if others:
        tables.append(_cut(f"{grid}: other measurements, means", _others(rows, others)))
    return tables


def _others(rows: pd.DataFrame, metrics: list[str]) -> list[dict[str, Any]]:
    table = []
    for _, members in rows.groupby(AXES, dropna=False):
        first = members.iloc[0]
        row = {"loss": loss_label(first["loss"]), "data set": data_label(first["dataset"], first["images_per_class"])}
        row |= {"batch size": f"{first['batch_size']:g}", "λ": f"{first['lambda']:g}"}
        for metric in metrics:
            mean = members[metric].mean()
            row[metric.removeprefix("metric.").replace("_", " ")] = "–" if pd.isna(mean) else f"{mean:.3g}"
        table.append(row)
    return table


def cell_table(summary: pd.DataFrame, folder: Path, runs: Path) -> Table:
    """Builds the table of cells; those that are not done come first.

    Args:
        summary: all cells.
        folder: the page's, from which links start.
        runs: the page that ``track`` writes, with a place per cell that leads to its MLflow run.
    """
    metrics = [metric for metric in metrics_of(summary) if is_accuracy(metric)] if len(summary) else []
    ordered = summary.assign(finished=summary["status"] == "done").sort_values("finished", kind="stable")
    table = []
    for record in ordered.head(ROWS).to_dict("records"):
        row: dict[str, Any] = {
            "cell": Link(record["cell"], os.path.relpath(record["directory"], folder)),
            "data set": data_label(record["dataset"], record["images_per_class"]),
            "loss": loss_label(record["loss"]),
            "status": record["status"],
            "reason": record["reason"],
            "MLflow": Link("run", f"{os.path.relpath(runs, folder)}#{record['cell']}"),
        }
        for name in ["validation", *metrics]:
            title = "validation (%)" if name == "validation" else metric_label(name)
            row[title] = _number(record.get(name), 100)
        row["training (s)"] = _number(record.get("train_seconds"))
        row["evaluation (s)"] = _number(record.get("evaluate_seconds"))
        row["peak memory (MiB)"] = _number(record.get("peak_memory_mib"), digits=0)
        table.append(row)
    return Table("All cells", table, max(0, len(summary) - ROWS))


def _number(value: float | None, factor: float = 1, digits: int = 1) -> str:
    return "–" if value is None or pd.isna(value) else f"{factor * value:.{digits}f}"


def _cut(title: str, rows: list[dict[str, Any]]) -> Table:
    return Table(title, rows[:ROWS], max(0, len(rows) - ROWS))
