"""The workflow on a real Slurm on loopback, with what befalls jobs on a cluster."""

import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from clce_bench.costs.cell_cost import costs_of
from clce_bench.experiment.loading import load_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.files import read_json
from clce_bench.planning.plan import plan_of
from clce_bench.training.train import train_cell
from tests.helpers import slurm_cluster
from tests.helpers.jobs import BACKBONE
from tests.helpers.miniature import ROOT

# Trains as any other. The second cell of a job is slow and, once it has a checkpoint, waits for the test's word.
SLOW = """
import os, time
from pathlib import Path
from clce_bench.losses.supcon import SupCon

class Slow(SupCon):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.steps, self.slow = 0, False
        if job := os.environ.get("SLURM_JOB_ID"):
            first = Path(f"first-cell-of-{job}")
            if not first.exists():
                first.write_text(str(os.getpid()))
            self.slow = first.read_text() != str(os.getpid())

    def forward(self, *arguments):
        if self.slow:
            self.steps += 1
            time.sleep(0.4)
            while self.steps == 6 and not Path("go-on").exists():
                time.sleep(0.1)
        return super().forward(*arguments)
"""
EXPERIMENT = {
    "name": "cluster",
    "backbone": {**BACKBONE, "freeze": "blocks", "cached_views": 2},
    "datasets": {"digits": {"size": 16}},
    "recipe": {"epochs": 2},
    "runtime": {"checkpoint_seconds": 1},
    "grids": [{"name": "slow", "dataset": "digits", "loss": "slow_loss:Slow", "seed": [*range(8)]}],
    "figures": [],
}
OPTIONS = ("--slurm-status-command", "squeue", "--latency-wait", "5")
# As many as a node has, like its one GPU: a batch that asked for more in its step than in its job would never start.
TWO_CORES = ("--set-resources", "train:cpus_per_task=2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    slurm_cluster.require()
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm"), nodes=4, cores=2) as own:
        yield own


def workflow(cluster, folder, *arguments):
    """Starts the workflow from a folder that looks like a user's, on the cluster."""
    command = [
        sys.executable,
        str(ROOT / "tests" / "helpers" / "impatient_snakemake.py"),
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    command += ["--profile", str(ROOT / "profiles" / "slurm"), *OPTIONS, *arguments]
    log = (folder / "snakemake.log").open("a")
    return subprocess.Popen(command, cwd=folder, env=cluster.environment, stdout=log, stderr=log)


def write_experiment(folder, **changes):
    (folder / "slow_loss.py").write_text(SLOW)
    (folder / "config.yaml").write_text(yaml.safe_dump({**EXPERIMENT, **changes}))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    plan = plan_of(load_experiment(folder / "config.yaml"))
    costs_of(plan)  # As `clce-bench plan` does: cells known to be small share jobs.
    return plan


def finished(folder):
    return {
        path: read_json(path)
        for path in (folder / "results/cells").rglob("*/cell.json")
        if "finished" not in path.parts
    }


def under_way(folder):
    found = {path.parent.parent for path in (folder / "results/cells").rglob("checkpoints/step-*.pt")}
    return [cell for cell in found if not (cell / "cell.json").exists()]


def wait(ready, process, folder, seconds=1500):
    deadline = time.monotonic() + seconds
    while not ready():
        text = (folder / "snakemake.log").read_text()[-3000:]
        assert process.poll() is None, f"the workflow ended: {text}"
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stricken(cluster, tmp_path_factory):
    """Four batches of two cells; in the second cell each of them meets with something else."""
    folder = tmp_path_factory.mktemp("stricken")
    plan = write_experiment(folder)
    arguments = ("--group-components", "small_cells=2", *TWO_CORES, "--until", "summarize")
    process = workflow(cluster, folder, *arguments)
    wait(lambda: len(finished(folder)) == len(under_way(folder)) == len(cluster.jobs()) == 4, process, folder)
    before = finished(folder)
    (cancelled, _), (stopped, node), (limited, _), (preempted, other) = cluster.jobs().items()
    cluster.call("scancel", cancelled)
    cluster.call("scontrol", "update", f"jobid={limited}", "EndTime=now")
    cluster.call("sbatch", "--partition=urgent", f"--nodelist={other}", "--output=/dev/null", "--wrap", "sleep 1")
    cluster.stop_node(node)
    cluster.start_node(node)
    expected, seen = {(limited, "TIMEOUT"), (preempted, "PENDING")}, set()

    def over():
        states = {job: cluster.state(job) for job in (stopped, limited, preempted)}
        seen.update(states.items())
        for job in (stopped, preempted):
            if states[job] == "PENDING":  # Slurm lets a job that it has queued again wait for two minutes.
                cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now")
        if expected <= seen:  # Before that a job could end sooner than Slurm notices what was done to it.
            (folder / "go-on").touch()
        return process.poll() is not None

    deadline = time.monotonic() + 1500
    while not over() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert process.poll() == 0, (seen, (folder / "snakemake.log").read_text()[-3000:])
    assert expected <= seen
    return folder, plan, before


def test_all_cells_are_done_and_none_was_trained_twice(stricken):
    folder, plan, before = stricken
    after = finished(folder)
    assert len(after) == len(plan.cells) == 8
    assert {path: record["started"] for path, record in before.items()}.items() <= {
        path: record["started"] for path, record in after.items()
    }.items()
    # Each of the four that were cut off went on from a checkpoint.
    assert sum(bool(record["resumed"]) for record in after.values()) == 4
    assert set(pd.read_csv(folder / "results/experiments/cluster/summary.csv")["status"]) == {"done"}
    assert not list((folder / "results/cells").rglob("finished"))


def test_cells_are_those_of_a_local_run_bit_for_bit(stricken, tmp_path):
    folder, _, _ = stricken
    os.chdir(folder)
    ended = finished(folder)
    went_on = [path for path in sorted(ended) if ended[path]["resumed"]]
    # Those that were cut off, and one that was not.
    for path in [*went_on, next(path for path in sorted(ended) if path not in went_on)]:
        record = ended[path]
        train_cell(record["job"], tmp_path / path.parent.name, Runtime())
        own = tmp_path / path.parent.name
        assert (own / "model.safetensors").read_bytes() == (path.parent / "model.safetensors").read_bytes()
        ours, theirs = np.load(own / "embeddings.npz"), np.load(path.parent / "embeddings.npz")
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
