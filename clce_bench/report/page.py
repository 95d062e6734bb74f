"""The ``report`` stage: one self-contained HTML page."""

import base64
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from clce_bench import __version__
from clce_bench.config import Experiment
from clce_bench.data.overlap import overlap_of
from clce_bench.evaluation.compare import compare, grid_rows, metrics_of
from clce_bench.files import read_json, write_text
from clce_bench.jobs import Plan, plan_of
from clce_bench.labels import data_label, loss_label, metric_label
from clce_bench.provenance import now
from clce_bench.registry import load_dataset
from clce_bench.report.headline import cost_of_last_run, headline_rows, table_rows


def write_report(experiment: Experiment, output: Path) -> None:
    """Writes the page from the summary and the figures that lie beside it, and from the cells' own files."""
    plan = plan_of(experiment)
    summary = pd.read_parquet(output.with_name("summary.parquet"))
    drawn = {figure.name: output.parent / "figures" / f"{figure.name}.svg" for figure in experiment.figures}
    template = (files("clce_bench.report") / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        experiment=experiment,
        version=__version__,
        written=now()[:16].replace("T", " "),
        headline=headline_rows(experiment, summary),
        figures=[_figure(name, path) for name, path in drawn.items() if path.exists()],
        tables=_tables(experiment, summary),
        cells=_cells(summary),
        counts=summary["status"].value_counts().to_dict(),
        datasets=_datasets(plan),
        backbones=[read_json(path) for path in _inputs(plan, "backbone")],
        environments=_environments(plan),
        cost=cost_of_last_run(plan),
        settings=experiment.model_dump_json(by_alias=True, indent=2),
    )
    write_text(output, page)


def _figure(name: str, path: Path) -> dict[str, str]:
    encoded = base64.b64encode(path.read_bytes()).decode()
    return {"name": name, "source": f"data:image/svg+xml;base64,{encoded}"}


def _tables(experiment: Experiment, summary: pd.DataFrame) -> list[dict[str, Any]]:
    tables = []
    for grid in experiment.grids:
        rows = grid_rows(summary, grid.name)
        for metric in metrics_of(rows):
            text = table_rows(compare(rows, metric), metric)
            tables.append({"title": f"{grid.name}: {metric_label(metric)}", "rows": text})
    return tables


def _cells(summary: pd.DataFrame) -> list[dict[str, str]]:
    metrics = [name for name in summary.columns if name.startswith("metric.") and not name.endswith("_std")]
    cells = []
    for record in summary.to_dict("records"):
        data = data_label(record["dataset"], record["images_per_class"])
        row = {"cell": record["cell"], "data set": data, "loss": loss_label(record["loss"])}
        row |= {"status": record["status"], "reason": record["reason"]}
        for name in ["validation", *metrics]:
            value = record.get(name)
            title = "validation (%)" if name == "validation" else metric_label(name)
            row[title] = "–" if value is None or pd.isna(value) else f"{100 * value:.1f}"
        seconds = record.get("train_seconds")
        row["training (s)"] = "–" if seconds is None or pd.isna(seconds) else f"{seconds:.1f}"
        cells.append(row)
    return cells


def _datasets(plan: Plan) -> list[dict[str, Any]]:
    described = []
    for name in sorted({cell.dataset for cell in plan.cells}):
        source = load_dataset(name)
        splits = [read_json(path) for path in _inputs(plan, "splits") if read_json(path)["dataset"] == name]
        overlap = overlap_of(plan.experiment.backbone.name, plan.experiment.backbone.weights, name)
        prepared = [read_json(path) for path in _inputs(plan, "dataset") if read_json(path)["name"] == source.images]
        skipped = [image["id"] for one in prepared for image in one["skipped"]]
        described.append(
            {"name": name, "source": source, "splits": splits, "overlap": overlap, "skipped": sorted(set(skipped))}
        )
    return described


def _inputs(plan: Plan, kind: str) -> list[Path]:
    paths = {Path(job.inputs[kind]) for job in plan.jobs["train"].values()}
    return sorted(path for path in paths if path.exists())


def _environments(plan: Plan) -> list[dict[str, Any]]:
    """Counts the cells by the machine and the packages they were trained with."""
    counts: dict[tuple[str, ...], int] = {}
    for cell in plan.cells:
        path = cell.directory / "cell.json"
        if path.exists():
            found = read_json(path)["environment"]
            packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
            key = (found["gpu"] or found["cpu"], found["platform"], f"Python {found['python']}, {packages}")
            counts[key] = counts.get(key, 0) + 1
    return [
        {"device": device, "platform": platform, "packages": packages, "cells": count}
        for (device, platform, packages), count in counts.items()
    ]
