"""Training a cell on stored outputs of the frozen trunk, against running the trunk at every step.

The same cell of the default experiment, trained both ways. Writes docs/benchmarks/cache.md.

    python benchmarks/cache.py
"""

import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
import yaml

from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.splits import make_splits
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import read_json
from clce_bench.models.features import compute_features
from clce_bench.models.weights import prepare_backbone
from clce_bench.planning.plan import plan_of
from clce_bench.training.train import train_cell

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "benchmarks" / "cache.md"
THREADS = 2


def prepared_job(folder: Path) -> dict[str, Any]:
    """Runs all stages before training for CLCE at seed 0, and returns the training job."""
    experiment = yaml.safe_load((ROOT / "config.yaml").read_text())
    grid = {"name": "main", "dataset": "openmoji", "loss": "clce", "lambda": 0.9, "batch_size": 64, "seed": 0}
    keys = {"name": "cache", "grids": [grid], "headline": "main", "figures": [], "claims": []}
    plan = plan_of(parse_experiment({**experiment, **keys}, "config.yaml"))
    (cell,) = plan.cells
    jobs = {verb: next(iter(plan.jobs[verb].values())) for verb in ("dataset", "splits", "backbone", "features")}
    paths = {
        name: folder / Path(path).relative_to("results") for name, path in plan.jobs["train"][cell.key].inputs.items()
    }
    prepare_dataset(jobs["dataset"].spec, paths["dataset"].parent)
    make_splits(jobs["splits"].spec, paths["dataset"].with_name("items.parquet"), paths["splits"].parent)
    prepare_backbone(jobs["backbone"].spec, paths["backbone"].parent)
    compute_features(jobs["features"].spec, paths, paths["features"].parent)
    return {"spec": cell.spec, "inputs": {name: str(path) for name, path in paths.items()}, "code": "benchmark"}


def train(job: dict[str, Any], output: Path) -> tuple[float, pd.DataFrame]:
    """Returns the seconds of a training run and its history."""
    start = time.perf_counter()
    train_cell(job, output)
    return time.perf_counter() - start, pd.read_csv(output / "history.csv")


def perturb(path: Path) -> None:
    """Changes stored outputs by no more than rounding does, to see how much of a difference comes from that."""
    values = np.load(path)
    noise = np.random.default_rng(0).standard_normal(values.shape, dtype=np.float32)
    np.save(path, values * (1 + np.float32(1e-7) * noise))


@click.command()
def main() -> None:
    """Measure, and write docs/benchmarks/cache.md."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        job = prepared_job(folder)
        preparing = time.perf_counter() - start
        stored, history = train(job, folder / "stored")
        without = {**job, "inputs": {key: path for key, path in job["inputs"].items() if key != "features"}}
        computed, same = train(without, folder / "computed")
        array = Path(job["inputs"]["features"]).with_name("features.npy")
        size = array.stat().st_size / 2**20
        perturb(array)
        _, rounded = train(job, folder / "perturbed")
        images = read_json(Path(job["inputs"]["splits"]))["images"]
    difference, rounding = (
        100 * (history["validation"] - other["validation"]).abs().max() for other in (same, rounded)
    )
    rows = {
        "training on stored outputs (s)": f"{stored:.1f}",
        "training that runs the trunk (s)": f"{computed:.1f}",
        "ratio": f"{computed / stored:.1f}",
        "preparing everything, once for all cells (s)": f"{preparing:.1f}",
        "stored outputs of 8 views (MiB)": f"{size:,.0f}",
        "largest difference of a validation accuracy in any epoch (points)": f"{difference:.1f}",
        "the same when stored outputs are changed by a ten-millionth (points)": f"{rounding:.1f}",
    }
    about = (
        f"A CLCE cell of the default experiment ({images['train-pool']} images of 96 px in the pool, EfficientNet-Lite0"
        f" frozen up to its last stage), {THREADS} CPU cores, {date.today()}."
    )
    table = "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows.items())])
    why = (
        "The two ways agree to rounding (tests compare them batch by batch and over two epochs). Training amplifies\n"
        "rounding, so accuracies of whole runs scatter by a few validation images of 220, as they do when the stored\n"
        "outputs themselves change by a ten-millionth."
    )
    text = (
        f"# Stored outputs of the frozen trunk\n\n{about}\n\n{table}\n\n{why}\n\n"
        "Measured by `python benchmarks/cache.py`.\n"
    )
    OUTPUT.write_text(text)
    click.echo(text)


if __name__ == "__main__":
    main()
