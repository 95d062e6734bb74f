"""Verbs that concern a whole experiment. Heavy modules are imported by the verb that needs them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clce_bench.execution.jobs_at_work import at_work
from clce_bench.records.job_records import recorded

if TYPE_CHECKING:
    from clce_bench.planning.plan import Plan

experiment_option = click.option(
    "--experiment",
    "path",
    default="config.yaml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The experiment file.",
)


@contextmanager
def own_record(plan: "Plan", verb: str, output: Path | None, files: Sequence[str]) -> Iterator[dict[str, str]]:
    """Leaves a record of a stage that runs once per experiment, if it writes to the experiment's own folder."""
    job = next((job for job in plan.jobs[verb].values() if output == Path(job.output)), None)
    if job is None:
        yield {}
        return
    place = Path(job.output)
    with at_work(verb, place), recorded(verb, job.definition, place, files) as others:
        yield others


@click.command()
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--cost/--no-cost", default=True, help="Estimate what the cells cost; imports torch.")
@click.option("--cells", is_flag=True, help="List all cells with their status too.")
@click.option("--measure", is_flag=True, help="Measure this machine's speed anew, some seconds per backbone.")
def plan(path: Path, as_json: bool, cost: bool, cells: bool, measure: bool) -> None:
    """Check an experiment file; say what the next run does, how long it takes and what it downloads.

    Example: clce-bench plan --experiment experiments/clce.yaml
    """
    from clce_bench.cli.plan_output import (
        list_cells,
        print_answer,
        print_costs,
        print_imbalances,
        print_json,
        print_needs,
        print_rounds,
        print_visible,
    )
    from clce_bench.costs.cell_cost import costs_of
    from clce_bench.planning.cell_status import states_of
    from clce_bench.planning.plan import load_plan
    from clce_bench.planning.reruns import reruns_of
    from clce_bench.tracking.store_check import check_store

    found = load_plan(path)
    check_store(found.experiment.tracking.uri)
    if measure or (cost and not as_json):
        from clce_bench.costs.speeds import measure_here, unmeasured

        device = found.experiment.runtime.device
        if chosen := found.cells if measure else unmeasured(found.cells, device):
            measure_here(chosen, device)
    reruns = reruns_of(found)
    if as_json:
        print_json(reruns, cost)
        return
    costs = costs_of(found) if cost else {}
    print_answer(reruns, path, costs)
    print_needs(found)
    print_imbalances(found)
    if cells:
        list_cells(found, states_of(reruns))
    if cost:
        print_costs(reruns, costs)
    print_visible(found)
    print_rounds(found)


@click.command()
@experiment_option
@click.option("--output", type=click.Path(path_type=Path), help="The .json file; other files go beside it.")
@click.option("--check", "checking", is_flag=True, help="Only report, by exit status 1, that trials must run first.")
def tune(path: Path, output: Path | None, checking: bool) -> None:
    """Choose the settings of losses among finished trials, by validation.

    Example: clce-bench tune --experiment experiments/tuned.yaml --output /tmp/tuning.json
    """
    from clce_bench.planning.plan import load_plan

    plan = load_plan(path)
    if checking:
        raise SystemExit(int(plan.deciding))
    from clce_bench.analysis.tuning_choice import write_choices

    place = output or plan.folder / "tuning.json"
    with own_record(plan, "tune", place, [f"{place.stem}.*"]):
        write_choices(plan.experiment, place)


@click.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the tables.")
def summarize(path: Path, output: Path) -> None:
    """Collect all cells of an experiment in one table, CSV and Parquet.

    Example: clce-bench summarize --output /tmp/summary
    """
    from clce_bench.analysis.summary import write_summary
    from clce_bench.planning.evidence import cells_checksum
    from clce_bench.planning.plan import load_plan

    plan = load_plan(path)
    files = ("*.csv", "*.parquet", "verdicts.json", "tables/*")
    with own_record(plan, "summarize", output / "summary.parquet", files) as others:
        write_summary(plan.experiment, output)
        others["cells"] = cells_checksum(plan)


@click.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The .html file.")
def report(path: Path, output: Path) -> None:
    """Write the report page beside an experiment's tables.

    Example: clce-bench report --output results/experiments/default/report.html
    """
    from clce_bench.planning.plan import load_plan
    from clce_bench.report.page import write_report

    plan = load_plan(path)
    with own_record(plan, "report", output, (output.name,)):
        write_report(plan.experiment, output)


@click.command()
@experiment_option
@click.option("--output", type=click.Path(path_type=Path), help="A file that lists what was tracked.")
@click.option("--follow", "following", is_flag=True, help="Stay and show the run of this folder until it ends.")
def track(path: Path, output: Path | None, following: bool) -> None:
    """Bring the MLflow store up to date with the results; cells that train have status RUNNING.

    Example: clce-bench track --follow
    """
    # Read by mlflow when it is imported: no usage data to its makers, no progress bars in a log.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from clce_bench.planning.plan import load_plan
    from clce_bench.tracking.mlflow_store import follow, track_experiment

    plan = load_plan(path)
    usual = next((Path(job.output) for job in plan.jobs["track"].values()), None)
    if output is None and usual and usual.exists():
        output = usual  # What a run has written is brought up to date as a whole, its record too.
    with own_record(plan, "track", output, ("tracked.json", "runs.html")):
        (follow if following else track_experiment)(plan.experiment, output)


@click.command()
@experiment_option
@click.option("--open", "open_page", is_flag=True, help="Open the report page too.")
@click.option("--close-run", "closing", is_flag=True, help="Note that a Snakemake run has ended, and what it took.")
@click.option(
    "--if-up-to-date", "up_to_date", is_flag=True, help="Status 1, and no word, where a run would do anything."
)
def headline(path: Path, open_page: bool, closing: bool, up_to_date: bool) -> None:
    """Print the headline table of a finished experiment and the path of its report.

    Example: clce-bench headline
    """
    from clce_bench.planning.plan import load_plan
    from clce_bench.planning.reruns import is_up_to_date
    from clce_bench.report.headline import close_run, print_headline

    plan = load_plan(path)
    if up_to_date:
        if not is_up_to_date(plan):
            raise SystemExit(1)
        plan.prepare()  # As a run does before it looks.
        click.echo("Nothing to be done: all results are up to date.", err=True)
    if closing:
        close_run(plan)
    page = print_headline(plan.experiment)
    if open_page:
        click.launch(str(page))


COMMANDS = (plan, tune, summarize, report, track, headline)
