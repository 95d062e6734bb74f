"""The headline table, and what the last run cost."""

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich.console import Console

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.summary_labels import data_label, metric_label
from clce_bench.analysis.summary_rows import grid_rows, hyperparameter_columns, metrics_of
from clce_bench.components.loss_info import NO_TRAINING
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.schema import Experiment
from clce_bench.files import read_json, write_json
from clce_bench.labels import is_main, loss_label
from clce_bench.planning.cell_status import evaluation_of, training_of
from clce_bench.planning.plan import Plan, plan_of
from clce_bench.records.environment import now
from clce_bench.report.terminal import TextTable
from clce_bench.report.warnings import hazards_of

_TOP1, _PROBE = "metric.top1", "metric.probe_top1"
_MEAN, _DIFFERENCE = "mean [95 % interval]", "difference to CE [paired 95 %]"


@dataclass(frozen=True)
class Cost:
    """What the last Snakemake run took.

    Attributes:
        cells: cells that it trained.
        wall: seconds since it started.
        inside: seconds that its jobs spent inside training and evaluation.
        cores: cores that it was given.
    """

    cells: int
    wall: float
    inside: float
    cores: int

    @property
    def ratio(self) -> float:
        """Wall time over the least possible one, training and evaluation spread over all cores."""
        return self.wall * self.cores / self.inside

    def __str__(self) -> str:
        return (
            f"{self.cells} cells trained in {self.wall / 60:.1f} min on {self.cores} cores; "
            f"wall time = {self.ratio:.2f} × (seconds inside training and evaluation ÷ cores)"
        )


def cost_of_last_run(plan: Plan) -> Cost | None:
    """Says what the last run that trained anything took: up to now if it is still going on.

    Returns:
        ``None`` if there was none.
    """
    path = plan.folder / "run.json"
    if not path.exists():
        return None
    run = read_json(path)
    if "started" in run:
        start = datetime.fromisoformat(run["started"])
        trained = [value for cell in plan.cells if (value := _seconds_since(cell, start)) is not None]
        if trained:
            wall = (datetime.fromisoformat(now()) - start).total_seconds()
            return Cost(len(trained), wall, sum(trained), run["cores"])
    return Cost(**run["cost"]) if run.get("cost") else None


def close_run(plan: Plan) -> None:
    """Notes what a run took when it has ended, for as long as no later run trains anything."""
    cost = cost_of_last_run(plan)
    write_json(plan.folder / "run.json", {"cost": asdict(cost) if cost else None})


def _seconds_since(cell: Cell, start: datetime) -> float | None:
    train, evaluation = training_of(cell), evaluation_of(cell)
    if train is None or evaluation is None or datetime.fromisoformat(train["started"]) < start:
        return None
    return float(train["seconds"] + evaluation["seconds"])


def headline_rows(experiment: Experiment, summary: pd.DataFrame) -> list[dict[str, str]]:
    """Builds the headline table: a row per setting of the headline grid and metric, as text."""
    found = headline_comparisons(experiment, summary)
    return [row for metric, table in found.items() for row in table_rows(table, metric)]


def headline_comparisons(experiment: Experiment, summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Compares the settings of the headline grid, by metric.

    Top-1 of the classifier, or of the linear probe where a loss trains no classifier; both beside features without any
    training, which only a probe can classify; few-shot accuracies.
    """
    rows = grid_rows(summary, experiment.headline_grid.name)
    main = [metric for metric in metrics_of(rows) if is_main(metric)]
    if {_TOP1, _PROBE} <= set(main):
        untrained = rows["loss"] == NO_TRAINING
        if (rows[_TOP1].isna() & rows[_PROBE].notna() & ~untrained).any():
            main.remove(_TOP1)
        elif not untrained.any():
            main.remove(_PROBE)
    tables = {metric: compare(rows, metric) for metric in main}
    return {metric: table[table["mean"].notna() | (table["loss"] != NO_TRAINING)] for metric, table in tables.items()}


def table_rows(table: pd.DataFrame, metric: str) -> list[dict[str, str]]:
    """Turns a comparison into text for people.

    Args:
        table: from :func:`clce_bench.analysis.comparisons.compare`.
        metric: its metric.
    """
    label = metric_label(metric)
    fixed = {"batch_size": "batch size", "lambda": "λ"}
    varying = hyperparameter_columns(table)
    rows = []
    for record in table.to_dict("records"):
        row = {"loss": loss_label(record["loss"])}
        row["data set"] = data_label(record["dataset"], record["images_per_class"], record["label_noise"])
        row |= {title: f"{record[name]:g}" for name, title in fixed.items()}
        row |= {"hazards": record["hazards"]} if (table["hazards"] != "").any() else {}
        row |= {name.partition(".")[2]: "–" if pd.isna(record[name]) else str(record[name]) for name in varying}
        row["seen in pre-training"] = record["overlap"]
        row["metric"] = label
        row[_MEAN] = interval(record["mean"], record["low"], record["high"])
        row[_DIFFERENCE] = interval(
            record["difference"], record["difference_low"], record["difference_high"], signed=True
        )
        row["could have shown"] = plus_minus(record["smallest_visible"])
        row |= (
            {"hazards in difference": record["difference_hazards"]} if (table["difference_hazards"] != "").any() else {}
        )
        row["seeds"] = f"{record['n']}" + (f" + {record['diverged']} diverged" if record["diverged"] else "")
        rows.append(row)
    return rows


def plus_minus(smallest: float | None) -> str:
    """Writes the smallest difference that could have been shown, such as ``± 1.4``; ``–`` where it is not known."""
    return "–" if smallest is None or math.isnan(smallest) else f"± {smallest:.1f}"


def interval(mean: float, low: float, high: float, *, signed: bool = False) -> str:
    """Writes a mean and its interval, such as ``+1.3 [+0.2, +2.4]``; a dash where there is none."""
    if math.isnan(mean):
        return "–"
    style = "+.1f" if signed else ".1f"
    text = f"{mean:{style}}" if math.isnan(low) else f"{mean:{style}} [{low:{style}}, {high:{style}}]"
    return text.replace("-", "−")


def effect_text(effect: float | None, low: float | None, high: float | None) -> str:
    """Writes the effect of a claim or finding, as :func:`interval` does; ``None`` is what there is not."""
    return interval(*(math.nan if value is None else value for value in (effect, low, high)), signed=True)


def print_headline(experiment: Experiment) -> Path:
    """Prints the headline table, the cost of the last run and the path of the report.

    Returns:
        The report page.

    Raises:
        UserError: the experiment has not been run yet.
    """
    plan = plan_of(experiment)
    page = plan.folder / "report.html"
    if not page.exists():
        raise UserError(f"{page}: there is no report yet; run the experiment first: make reproduce")
    rows = headline_rows(experiment, pd.read_parquet(plan.folder / "summary.parquet"))
    console = Console()
    columns = list(rows[0]) if rows else ["no results"]
    first = ["seen in pre-training", "could have shown", "batch size", "seeds"]
    spare = [*first, *(name for name in columns if name not in ("loss", "metric", _MEAN, _DIFFERENCE, *first))]
    title = f"{experiment.name}: {experiment.headline_grid.name}"
    console.print(TextTable(columns, [list(row.values()) for row in rows], spare, ["metric"], title))
    for hazard in hazards_of(experiment.grids):
        console.print(f"Hazard switched on: {hazard}", style="bold red", soft_wrap=True)
    cost = cost_of_last_run(plan)
    if cost:
        console.print(f"The last run: {cost}.")
    console.print(f"Report: {page}", soft_wrap=True)
    return page
