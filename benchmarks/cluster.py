"""Which share of a job's time on a cluster is spent in cells: cells with jobs of their own against cells in batches.

Run ``python -m benchmarks.cluster`` in the repository, where Slurm and munge are installed: it starts a cluster of one
node on loopback, prints a table and writes docs/benchmarks/cluster.md.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from clce_bench.cost import costs_of
from clce_bench.files import read_json
from clce_bench.jobs import plan_of
from clce_bench.loading import load_experiment
from tests.slurm_cluster import Cluster, cluster

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "cluster.md"
OPTIONS = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 1"


def measure(slurm: Cluster, cells: int, batch: int) -> tuple[float, float, float]:
    """Runs an experiment of cells like those of the default one, in batches of this size.

    Returns:
        Seconds inside training and evaluation, seconds of the jobs that did it, seconds of the whole workflow.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        experiment: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
        grid = {"name": "cells", "dataset": "openmoji", "loss": ["ce", "clce"], "seed": list(range(cells // 2))}
        experiment |= {"grids": [grid], "headline": "cells", "figures": [], "claims": []}
        Path("config.yaml").write_text(yaml.safe_dump(experiment))
        plan = plan_of(load_experiment(Path("config.yaml")))
        costs_of(plan)
        command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile"), "--quiet"]
        command += ["--profile", str(ROOT / "profiles" / "slurm-nogpu"), *OPTIONS.split()]
        run = [*command, "--group-components", f"small_cells={batch}"]
        subprocess.run([*run, "--until", "features"], env=slurm.environment, check=True, capture_output=True)
        before = set(_seconds(slurm))
        started = datetime.now()
        subprocess.run(run, env=slurm.environment, check=True, capture_output=True)
        whole = (datetime.now() - started).total_seconds()
        inside = sum(
            float(read_json(cell.directory / name)["seconds"])
            for cell in plan.cells
            for name in ("cell.json", "metrics.json")
        )
        jobs = sum(seconds for job, seconds in _seconds(slurm).items() if job not in before)
        os.chdir(ROOT)
    return inside, jobs, whole


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
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--dry-run", action="store_true", help="Write no page.")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder, cluster(folder, nodes=1) as slurm:
        for batch in options.batches:
            inside, jobs, whole = measure(slurm, options.cells, batch)
            lines.append(f"| {batch} | {inside:.0f} | {jobs:.0f} | {100 * inside / jobs:.0f} % | {whole:.0f} |")
            print(lines[-1], flush=True)
    text = (
        f"# Small cells on a cluster\n\nMeasured {date.today()} with `python -m benchmarks.cluster` on {os.cpu_count()}"
        f" CPU cores, {platform.system()}, Python {platform.python_version()}: {options.cells} cells of the default"
        " experiment's size through a Slurm on loopback with one node of one core.\n\n"
        "| cells per job | s in cells | s of the jobs | share | s of the workflow |\n| --- | --- | --- | --- | --- |\n"
    )
    print(text := text + "\n".join(lines) + "\n")
    if not options.dry_run:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
