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

# Trains as any other. All but the first cell of each of two batches are slow and, with a checkpoint, wait for the
# test's word, or for a signal.
SLOW = """
import os, select, signal, time
from pathlib import Path
from clce_bench.losses.supcon import SupCon

class Slow(SupCon):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.steps, self.slow = 0, False
        if job := os.environ.get("SLURM_JOB_ID"):
            first = Path(f"first-cell-of-{job}")
            if len(list(Path().glob("first-cell-of-*"))) < 2 and not first.exists():
                first.write_text(str(os.getpid()))
            self.slow = not first.exists() or first.read_text() != str(os.getpid())

    def forward(self, *arguments):
        if self.slow and not Path("go-on").exists():
            self.steps += 1
            time.sleep(0.4)
            if self.steps == 6:
                wait()
        return super().forward(*arguments)

def wait():
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    Path(f"waits-{os.getpid()}").touch()
    while not Path("go-on").exists() and not select.select([heard], [], [], 0.1)[0]:
        pass
"""
EXPERIMENT = {
    "name": "cluster",
    "backbone": {**BACKBONE, "freeze": "blocks", "cached_views": 2},
    "datasets": {"digits": {"size": 16}},
    "recipe": {"epochs": 2},
    "runtime": {"checkpoint_seconds": 1},
    "grids": [{"name": "slow", "dataset": "digits", "loss": "slow_loss:Slow", "seed": [*range(4)]}],
    "figures": [],
}
OPTIONS = ("--slurm-status-command", "squeue", "--latency-wait", "5")
# As many as a node has, like its one GPU: a batch that asked for more in its step than in its job would never start.
TWO_CORES = ("--set-resources", "train:cpus_per_task=2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    slurm_cluster.require()
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm"), nodes=2, cores=2) as own:
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


def wait_for_slow_cells(count, cluster, process, folder):
    """Waits until so many times in all a slow cell has come to where it waits."""
    deadline = time.monotonic() + 1500
    while len(list(folder.glob("waits-*"))) < count:
        for job, (state, _) in cluster.states().items():
            if state == "PENDING":  # Slurm lets a job that it has queued again wait for two minutes.
                cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now")
        text = (folder / "snakemake.log").read_text()[-3000:]
        assert process.poll() is None, f"the workflow ended: {text}"
        assert time.monotonic() < deadline, text
        time.sleep(2)


@pytest.fixture(scope="module")
def stricken(cluster, tmp_path_factory):
    """Two batches of two cells, each of which is cut off twice, in its second cell, and always by something else."""
    folder = tmp_path_factory.mktemp("stricken")
    plan = write_experiment(folder)
    arguments = ("--group-components", "small_cells=2", *TWO_CORES, "--until", "summarize")
    process = workflow(cluster, folder, *arguments)
    wait_for_slow_cells(2, cluster, process, folder)
    before = finished(folder)
    (cancelled, _), (preempted, node) = cluster.jobs().items()
    cluster.call("scancel", cancelled)
    cluster.call("sbatch", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null", "--wrap", "sleep 1")
    wait_for_slow_cells(4, cluster, process, folder)
    ((stopped, node),) = ((job, node) for job, node in cluster.jobs().items() if job != preempted)
    cluster.call("scontrol", "update", f"jobid={preempted}", "EndTime=now")
    cluster.stop_node(node)
    cluster.start_node(node)
    wait_for_slow_cells(6, cluster, process, folder)
    (folder / "go-on").touch()
    assert process.wait(1500) == 0, (folder / "snakemake.log").read_text()[-3000:]
    states = cluster.states()
    assert [states[job] for job in (cancelled, preempted, stopped)] == [
        ("CANCELLED", 0),
        ("TIMEOUT", 1),  # In its second try, after the one that had to give way.
        ("COMPLETED", 1),
    ]
    return folder, plan, before


def test_all_cells_are_done_and_none_was_trained_twice(stricken):
    folder, plan, before = stricken
    after = finished(folder)
    assert len(after) == len(plan.cells) == 4
    assert len(before) == 2
    assert {path: record["started"] for path, record in before.items()}.items() <= {
        path: record["started"] for path, record in after.items()
    }.items()
    # Those that were cut off went on from a checkpoint each time.
    assert sorted(record["resumed"] for record in after.values()) == [0, 0, 2, 2]
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
