"""Verbs that concern a whole experiment. Heavy modules are imported by the verb that needs them."""

import json
import os
from collections import Counter
from pathlib import Path

import click

experiment_option = click.option(
    "--experiment",
    "path",
    default="config.yaml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The experiment file.",
)


@click.command()
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(path: Path, as_json: bool) -> None:
    """Check an experiment file, list its cells, and say what is still to be downloaded.

    Example: clce-bench plan --experiment experiments/smoke.yaml
    """
    _list_cells(path, as_json, finished=True)


@click.command()
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(path: Path, as_json: bool) -> None:
    """Say of each cell that is not done what it is, and why.

    Example: clce-bench status
    """
    _list_cells(path, as_json, finished=False)


def _list_cells(path: Path, as_json: bool, finished: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from clce_bench.data.needs import needs_of, unprepared
    from clce_bench.jobs import RESULTS, cell_key, plan_of, status_of
    from clce_bench.loading import load_experiment

    plan = plan_of(load_experiment(path))
    states = [(cell, *status_of(cell, plan.jobs["train"][cell_key(cell)])) for cell in plan.cells]
    if as_json:
        rows = [{"cell": cell.name, "status": state, "reason": why, "spec": cell.spec} for cell, state, why in states]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("cell", "data set", "status", "reason", title=f"{path}: {len(plan.cells)} cells")
    for cell, state, why in states:
        if finished or state != "done":
            table.add_row(cell.name, cell.dataset, state, why)
    console = Console()
    if table.row_count:
        console.print(table)
    console.print(", ".join(f"{count} {state}" for state, count in Counter(state for _, state, _ in states).items()))
    if finished and (needs := str(needs_of(unprepared(((cell.dataset, cell.size) for cell in plan.cells), RESULTS)))):
        console.print(needs)


@click.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the tables.")
def summarize(path: Path, output: Path) -> None:
    """Collect all cells of an experiment in one table, CSV and Parquet.

    Example: clce-bench summarize --output /tmp/summary
    """
    from clce_bench.evaluation.summary import write_summary
    from clce_bench.loading import load_experiment

    write_summary(load_experiment(path), output)


@click.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The .html file.")
def report(path: Path, output: Path) -> None:
    """Write the report page.

    Example: clce-bench report --output /tmp/report.html
    """
    from clce_bench.loading import load_experiment
    from clce_bench.report.page import write_report

    write_report(load_experiment(path), output)


@click.command()
@experiment_option
@click.option("--output", type=click.Path(path_type=Path), help="A file that lists what was tracked.")
def track(path: Path, output: Path | None) -> None:
    """Bring the MLflow store up to date with the results.

    Example: clce-bench track
    """
    # Read by mlflow when it is imported: no usage data to its makers, no progress bars in a log.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from clce_bench.loading import load_experiment
    from clce_bench.tracking import track_experiment

    track_experiment(load_experiment(path), output)


@click.command()
@experiment_option
@click.option("--open", "open_page", is_flag=True, help="Open the report page too.")
@click.option("--close-run", "closing", is_flag=True, help="Note that a Snakemake run has ended, and what it took.")
def headline(path: Path, open_page: bool, closing: bool) -> None:
    """Print the headline table of a finished experiment and where its report lies.

    Example: clce-bench headline
    """
    from clce_bench.jobs import plan_of
    from clce_bench.loading import load_experiment
    from clce_bench.report.headline import close_run, print_headline

    experiment = load_experiment(path)
    if closing:
        close_run(plan_of(experiment))
    page = print_headline(experiment)
    if open_page:
        click.launch(str(page))


COMMANDS = (plan, status, summarize, report, track, headline)
