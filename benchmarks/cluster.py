"""Which share of a job's time on a cluster is spent in cells: in jobs of their own, in batches, all in one process.

Run ``python -m benchmarks.cluster`` in the repository, where Slurm and munge are installed: it starts a cluster of one
node on loopback, prints a table and writes docs/benchmarks/cluster.md.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from clce_bench.costs.cell_cost import costs_of
from clce_bench.execution.worker import ALLOCATOR
from clce_bench.experiment.loading import load_experiment
from clce_bench.files import read_json
from clce_bench.planning.plan import plan_of
from tests.helpers.slurm_cluster import Cluster, cluster

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "cluster.md"
OPTIONS = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1"


def measure(slurm: Cluster, cells: int, batch: int | None) -> tuple[float, float, float]:
    """Runs an experiment of cells like those of the default one.

    Args:
        slurm: where.
        cells: how many.
        batch: cells that share a job; ``None`` for one process that does all of them, one after another, without
            Snakemake: no rule that takes several cells could be faster.

    Returns:
        Seconds inside training and evaluation, seconds of the jobs that did it, seconds from start to end.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        experiment: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
        grid = {"name": "cells", "dataset": "openmoji", "loss": ["ce", "clce"], "seed": list(range(cells // 2))}
        experiment |= {"grids": [grid], "headline": "cells", "figures": [], "claims": []}
        Path("config.yaml").write_text(yaml.safe_dump(experiment))
        plan = plan_of(load_experiment(Path("config.yaml")))
        costs_of(plan)
        run = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile"), "--quiet"]
        run += ["--profile", str(ROOT / "profiles" / "slurm-nogpu"), *OPTIONS.split()]
        run += ["--group-components", f"small_cells={batch or 1}"]
        subprocess.run([*run, "--until", "features"], env=slurm.environment, check=True, capture_output=True)
        before = set(_seconds(slurm))
        command = [sys.executable, "-m", "benchmarks.cluster", "--all-here", "config.yaml"]
        job = ["sbatch", "--wait", "--output=one.log", "--wrap", shlex.join(command)]
        started = datetime.now()
        environment = {**slurm.environment, **ALLOCATOR, "PYTHONPATH": str(ROOT)}
        subprocess.run(run if batch else job, env=environment, check=True, capture_output=True)
        whole = (datetime.now() - started).total_seconds()
        inside = sum(
            float(read_json(cell.directory / name)["seconds"])
            for cell in plan.cells
            for name in ("cell.json", "metrics.json")
        )
        jobs = sum(seconds for job, seconds in _seconds(slurm).items() if job not in before)
        os.chdir(ROOT)
    return inside, jobs, whole


def run_all_here(file: Path) -> None:
    """Trains and evaluates all cells of an experiment in this process."""
    import torch

    from clce_bench.evaluation.evaluate import evaluate_cell
    from clce_bench.training.train import train_cell

    torch.set_num_threads(1)
    plan = plan_of(load_experiment(file))
    for key, job in plan.jobs["train"].items():
        train_cell(json.loads(job.param), Path(job.output).parent)
        evaluation = plan.jobs["evaluate"][key]
        evaluate_cell(json.loads(evaluation.param), Path(evaluation.output))


def _seconds(slurm: Cluster) -> dict[str, float]:
    lines = slurm.call("squeue", "--noheader", "--states=COMPLETED", "--format=%i %S %e").splitlines()
    times = {
        job: (datetime.fromisoformat(end) - datetime.fromisoformat(start)) for job, start, end in map(str.split, lines)
    }
    return {job: time.total_seconds() for job, time in times.items()}


def main() -> None:
    """Measures all batch sizes on the same cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--dry-run", action="store_true", help="Write no page.")
    parser.add_argument("--all-here", type=Path, help="Only train and evaluate this experiment's cells.")
    options = parser.parse_args()
    if options.all_here:
        run_all_here(options.all_here)
        return
    lines = []
    with tempfile.TemporaryDirectory() as folder, cluster(folder, nodes=1) as slurm:
        for batch in (*options.batches, None):
            inside, jobs, whole = measure(slurm, options.cells, batch)
            who = batch or "all, in one process without Snakemake"
            lines.append(f"| {who} | {inside:.0f} | {jobs:.0f} | {100 * inside / jobs:.0f} % | {whole:.0f} |")
            print(lines[-1], flush=True)
    text = (
        f"# Small cells on a cluster\n\nMeasured {date.today()} with `python -m benchmarks.cluster` on {os.cpu_count()}"
        f" CPU cores, {platform.system()}, Python {platform.python_version()}: {options.cells} cells of the default"
        " experiment's size through a Slurm on loopback with one node of one core.\n\n"
        "| cells per job | s in cells | s of the jobs | share | s from start to end |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    print(text := text + "\n".join(lines) + "\n")
    if not options.dry_run:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
