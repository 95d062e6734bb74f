"""The ``report`` stage: one self-contained HTML page."""

import base64
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from clce_bench import __version__
from clce_bench.analysis.result_tables import with_minus
from clce_bench.analysis.rounds import cells_of_rounds
from clce_bench.analysis.summary_labels import metric_label
from clce_bench.analysis.summary_rows import metrics_of
from clce_bench.analysis.verdicts import read_verdicts
from clce_bench.components.loss_info import loss_order
from clce_bench.components.registry import load_dataset
from clce_bench.costs.throughput import estimated_against_actual
from clce_bench.data.class_sizes import imbalance_warning
from clce_bench.data.pretraining_overlap import overlap_of
from clce_bench.errors import UserError
from clce_bench.experiment.schema import Experiment
from clce_bench.files import read_json, write_text
from clce_bench.labels import loss_label
from clce_bench.planning.plan import Plan, plan_of
from clce_bench.records.environment import now
from clce_bench.report.answer import FIRST, answer_of
from clce_bench.report.cells_behind import CellFiles
from clce_bench.report.claim_rows import claim_rows, claims_scale_of
from clce_bench.report.code_and_machines import accepted_table, provenance_table
from clce_bench.report.curve import explored_curve
from clce_bench.report.forest import axis
from clce_bench.report.headline import cost_of_last_run, headline_rows
from clce_bench.report.methods import as_yaml, methods_of, references_of
from clce_bench.report.page_tables import Link, Table, cell_table, cost_table, figure_tables, tables_of
from clce_bench.report.warnings import hazards_of, warnings_of

LARGEST_SVG = 1_000_000
"""Bytes above which the page shows a figure's PNG."""


def write_report(experiment: Experiment, output: Path) -> None:
    """Writes the page from the summary and the figures that are beside it, and from the cells' own files.

    Raises:
        UserError: there is no summary beside it.
    """
    plan = plan_of(experiment)
    if not output.with_name("summary.parquet").exists():
        make = f"clce-bench summarize --experiment FILE --output {output.parent}"
        raise UserError(f"--output: {output}: the page needs tables beside it, and there are none. First: {make}")
    summary = pd.read_parquet(output.with_name("summary.parquet"))
    comparisons = pd.read_parquet(output.with_name("comparisons.parquet"))
    verdicts = read_verdicts(output.with_name("verdicts.json")) if output.with_name("verdicts.json").exists() else []
    claims_scale = claims_scale_of(verdicts)
    described = _datasets(plan)
    losses = {cell: loss_label(loss) for cell, loss in zip(summary["cell"], summary["loss"], strict=True)}
    metrics = [metric_label(metric) for metric in metrics_of(summary)]
    parts = {suffix: _beside(f"page.{suffix}") for suffix in ("html", "css", "js")}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["minus"] = with_minus
    environment.tests["link"] = lambda value: isinstance(value, Link)
    page = environment.from_string(parts["html"]).render(
        style=Markup(parts["css"]),
        script=Markup(parts["js"]),
        experiment=experiment,
        version=__version__,
        written=now()[:16].replace("T", " "),
        hazards=hazards_of(experiment.grids),
        warnings=[*warnings_of(summary, [grid.name for grid in experiment.grids]), *_imbalances(plan)],
        answer=answer_of(experiment, summary, verdicts),
        first=FIRST,
        order=[loss_label(loss) for loss in sorted(summary["loss"].unique(), key=loss_order)],
        verdicts=claim_rows(verdicts, claims_scale, losses, metrics),
        behind=CellFiles.of(summary, output.parent, plan.folder / "experiment.json").behind,
        claims_axis=axis(claims_scale.signed_ticks),
        rounds=cells_of_rounds(plan),
        command=os.path.relpath(plan.folder / "experiment.json"),
        headline=Table("Headline", headline_rows(experiment, summary)),
        curve=explored_curve(experiment.figures, output.parent / "figures", summary),
        figures=_figures(experiment, output.parent),
        tables=[
            *figure_tables(experiment.figures, output.parent / "tables"),
            *(table for grid in experiment.grids for table in tables_of(grid.name, comparisons)),
        ],
        files=[path.name for path in _files(output.parent)],
        cells=cell_table(summary, output.parent, plan.folder / "runs.html"),
        costs=cost_table(estimated_against_actual(plan)),
        total=len(summary),
        counts=summary["status"].value_counts().to_dict(),
        seconds=_seconds(summary),
        datasets=described,
        backbones=[read_json(path) for path in _inputs(plan, "backbone")],
        provenance=provenance_table(summary),
        accepted=accepted_table(summary),
        cost=cost_of_last_run(plan),
        methods=methods_of(plan, summary),
        bibtex=references_of(plan, [one["source"] for one in described]),
        settings=as_yaml(experiment),
    )
    write_text(output, page)


def _beside(name: str) -> str:
    return (files("clce_bench.report") / name).read_text(encoding="utf-8")


def _figures(experiment: Experiment, folder: Path) -> list[dict[str, Any]]:
    figures = []
    for figure in experiment.figures:
        stem = folder / "figures" / figure.name
        svg, png = stem.with_suffix(".svg"), stem.with_suffix(".png")
        if not svg.exists():
            continue
        image, kind = (svg, "svg+xml") if svg.stat().st_size <= LARGEST_SVG else (png, "png")
        narrow = stem.with_suffix(".narrow.svg")
        shown = image == svg and narrow.exists()
        figures.append(
            {
                "name": figure.name,
                "source": _address(image, kind),
                "narrow": _address(narrow, "svg+xml") if shown else "",
                "caption": stem.with_suffix(".txt").read_text(encoding="utf-8").strip(),
                "files": [f"figures/{figure.name}.{ending}" for ending in ("csv", "pdf", "svg", "png", "cells.txt")],
            }
        )
    return figures


def _address(image: Path, kind: str) -> str:
    """Makes the address of an image that is in the page itself."""
    return f"data:image/{kind};base64,{base64.b64encode(image.read_bytes()).decode()}"


def _files(folder: Path) -> list[Path]:
    """Lists the tables beside the page."""
    return sorted(folder.glob("*.csv"))


def _seconds(summary: pd.DataFrame) -> float:
    return float(sum(summary[name].sum() for name in ("train_seconds", "evaluate_seconds") if name in summary))


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


def _imbalances(plan: Plan) -> list[str]:
    described = [read_json(path) for path in _inputs(plan, "dataset")]
    warnings = [imbalance_warning(one["name"], one.get("class_sizes")) for one in described]
    return sorted(set(filter(None, warnings)))


def _inputs(plan: Plan, kind: str) -> list[Path]:
    paths = {Path(job.inputs[kind]) for job in plan.jobs["train"].values()}
    return sorted(path for path in paths if path.exists())
