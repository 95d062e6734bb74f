"""Tables of the page as text: comparisons per grid and metric, other measurements, cells."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from clce_bench.analysis.result_tables import comparison_table
from clce_bench.analysis.summary_labels import data_label, is_accuracy, metric_label, of_measure
from clce_bench.analysis.summary_rows import AXES, hyperparameter_columns, metrics_of
from clce_bench.costs.throughput import Actual
from clce_bench.experiment.figure_options import Figure
from clce_bench.labels import is_main, loss_label

ROWS = 200
"""How many rows of a table the page shows at most; the rest is in the files beside it."""


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        title: what it shows.
        rows: text by column.
        left_out: how many rows the page leaves to ``file``.
        file: which has all of it, beside the page.
    """

    title: str
    rows: list[dict[str, Any]]
    left_out: int = 0
    file: str = ""


class Link(NamedTuple):
    """A cell of a table that leads somewhere.

    Attributes:
        text: what it says.
        target: a path relative to the page.
    """

    text: str
    target: str


def figure_tables(figures: list[Figure], folder: Path) -> list[Table]:
    """Reads the tables of the figures that have one.

    Args:
        figures: of the experiment.
        folder: of its tables.
    """
    tables = []
    for figure in figures:
        path = folder / f"{figure.name}.csv"
        if figure.tabled and path.exists() and path.read_text().strip():
            rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
            text = [{str(key): value for key, value in row.items()} for row in rows]
            tables.append(Table(figure.name, text[:ROWS], max(0, len(text) - ROWS), f"tables/{path.name}"))
    return tables


def tables_of(grid: str, comparisons: pd.DataFrame) -> list[Table]:
    """Builds a table per main metric, and one of the means of all others.

    Args:
        grid: its name.
        comparisons: of all grids, from ``comparisons.parquet``.
    """
    rows = comparisons[comparisons["grid"] == grid].drop_duplicates()
    tables = []
    for metric in rows["metric"].unique():
        if is_main(metric):
            own = rows.loc[rows["metric"] == metric, _columns(rows, metric)]
            text = [{str(key): value for key, value in row.items()} for row in comparison_table(own).to_dict("records")]
            file = f"tables/{grid}-{metric.removeprefix('metric.')}.csv"
            tables.append(Table(f"{grid}: {metric_label(metric)}", text[:ROWS], max(0, len(text) - ROWS), file))
    further = [metric for metric in rows["metric"].unique() if not is_main(metric)]
    if measured := [metric for metric in further if of_measure(metric)]:
        text = [row for metric in measured for row in _measured(rows, metric)]
        title = f"{grid}: neighbours, retrieval, outliers, corruptions"
        tables.append(Table(title, text[:ROWS], max(0, len(text) - ROWS), "comparisons.csv"))
    if others := [metric for metric in further if not of_measure(metric)]:
        text = _others(rows, others)
        left_out = max(0, len(text) - ROWS)
        tables.append(Table(f"{grid}: other measurements, means", text[:ROWS], left_out, "comparisons.csv"))
    return tables


def _columns(rows: pd.DataFrame, metric: str) -> list[str]:
    """Leaves out the hyper-parameters that do not vary in this grid."""
    own = rows[rows["metric"] == metric]
    optional = hyperparameter_columns(rows)
    return [str(name) for name in rows if name not in optional or own[name].notna().any()]


def _measured(rows: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    own = rows.loc[rows["metric"] == metric, _columns(rows, metric)]
    text = comparison_table(own).drop(columns=["published", "ours − published"])
    text.insert(0, "metric", metric_label(metric))
    # How many tests there are is part of a name, and the metrics need not have equally many.
    text.columns = [str(name).partition(" (Holm")[0] for name in text]
    return [{str(key): value for key, value in row.items()} for row in text.to_dict("records")]


def _others(rows: pd.DataFrame, metrics: list[str]) -> list[dict[str, Any]]:
    varying = hyperparameter_columns(_columns(rows, metrics[0]))
    table = []
    for _, members in rows[rows["metric"].isin(metrics)].groupby([*AXES, *varying], dropna=False):
        first = members.iloc[0]
        row = {
            "loss": loss_label(first["loss"]),
            "data set": data_label(first["dataset"], first["images_per_class"], first["label_noise"]),
        }
        row |= {"batch": f"{first['batch_size']:g}", "λ": f"{first['lambda']:g}"}
        row |= {"hazards": first["hazards"]} if (rows["hazards"] != "").any() else {}
        row |= {name.partition(".")[2]: "" if pd.isna(first[name]) else str(first[name]) for name in varying}
        means = dict(zip(members["metric"], members["mean"], strict=True))
        for metric in metrics:
            mean = means.get(metric, float("nan"))
            text = f"{mean:.1f}" if is_accuracy(metric) else f"{mean:.3g}"
            row[metric_label(metric)] = "–" if pd.isna(mean) else text
        table.append(row)
    return table


def cell_table(summary: pd.DataFrame, folder: Path, runs: Path) -> Table:
    """Builds the table of cells; those that are not done come first.

    Args:
        summary: all cells.
        folder: the page's, from which links start.
        runs: the page that ``track`` writes, with a place per cell that leads to its MLflow run.
    """
    metrics = [metric for metric in metrics_of(summary) if is_main(metric)]
    ordered = summary.assign(finished=summary["status"] == "done").sort_values("finished", kind="stable")
    table = []
    for record in ordered.head(ROWS).to_dict("records"):
        row: dict[str, Any] = {
            "cell": Link(record["cell"], os.path.relpath(record["directory"], folder)),
            "data set": data_label(record["dataset"], record["images_per_class"], record["label_noise"]),
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
        row["waiting for data (%)"] = _number(record.get("waiting_for_data"), 100)
        row["peak memory (MiB)"] = _number(record.get("peak_memory_mib"), digits=0)
        table.append(row)
    return Table("All cells", table, max(0, len(summary) - ROWS), "summary.csv")


def cost_table(found: list[Actual]) -> Table:
    """Sets what training was expected to cost against what it took, per device."""
    rows = []
    for device in sorted({one.device for one in found}):
        own = [one for one in found if one.device == device]
        timed = [one for one in own if one.hours is not None]
        expected, taken = sum(one.hours or 0 for one in timed), sum(one.actual_hours for one in timed)
        rows.append(
            {
                "device": device,
                "cells": len(own),
                "operations (10¹²)": f"{sum(one.flops for one in own) / 1e12:,.1f}",
                "hours expected": f"{expected:.3g}" if timed else "not measured",
                "hours taken": f"{taken if timed else sum(one.actual_hours for one in own):.3g}",
                "largest memory expected (MiB)": f"{max(one.memory for one in own) / 2**20:,.0f}",
                "largest memory taken (MiB)": f"{max(one.actual_memory for one in own) / 2**20:,.0f}",
            }
        )
    return Table("Cost of training: expected and taken", rows)


def _number(value: float | None, factor: float = 1, digits: int = 1) -> str:
    return "–" if value is None or pd.isna(value) else f"{factor * value:.{digits}f}"
