"""What systems have differs; nothing here looks for it by the system's name."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clce_bench import machine
from clce_bench.execution import worker
from tests.helpers import like_a_mac
from tests.helpers.miniature import ROOT, jobs_of

EXPERIMENT = """
name: mac
backbone: {name: test_resnet, weights: random, freeze: none}
datasets: {tiny: {size: 16}}
recipe: {epochs: 1}
grids: [{name: main, dataset: tiny, loss: clce, seed: 0, batch_size: 32}]
"""

STAGES = """
import os
import sys
from pathlib import Path

assert not hasattr(os, "sched_getaffinity")
from clce_bench.components.registry import DATASETS
DATASETS["tiny"] = "tests.helpers.tiny:TINY"
from clce_bench import machine
from clce_bench.cli import command_status
from clce_bench.planning.plan import load_plan
from tests.helpers.killed_stages import arguments

plan = load_plan(Path("experiment.yaml"))
for verb in ("dataset", "splits", "backbone", "train", "evaluate"):
    for job in plan.jobs[verb].values():
        assert command_status(arguments(job)) == 0, job
import clce_bench.models.features
assert "torch" in sys.modules and "mlflow" not in sys.modules
for said in (["plan", "--no-cost"], ["watch", "--once"], ["verify"]):
    assert command_status([*said, "--experiment", "experiment.yaml"]) == 0, said
try:
    os.fork()
except OSError:
    print("fork: refused")
print("cores:", machine.usable_cores(), flush=True)
from snakemake.cli import main
main(["--snakefile", sys.argv[1], "--cores", "1", "--configfile", "experiment.yaml", "--dry-run"])
"""


def test_a_cell_is_made_without_mlflow_and_a_run_planned_where_a_mac_has_less(tmp_path):
    Path("experiment.yaml").write_text(EXPERIMENT)
    command = [sys.executable, "-c", STAGES, str(ROOT / "Snakefile")]
    done = subprocess.run(command, env=like_a_mac.environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mac: 1 done" in done.stdout
    assert "fork: refused" in done.stdout
    assert f"cores: {os.cpu_count()}" in done.stdout
    assert {"summarize", "report", "track"} <= set(jobs := jobs_of(done.stdout + done.stderr))
    assert not {"dataset", "backbone", "train", "evaluate"} & set(jobs)
    record = json.loads(next(Path("results/cells").rglob("cell.json")).read_text())
    assert 150 < record["peak_memory_mib"] < 4000
    assert record["environment"]["cpu"]


def test_where_python_does_not_fork_no_process_is_shared(monkeypatch):
    monkeypatch.setenv(worker.VARIABLE, "another run's")
    monkeypatch.setattr(machine.multiprocessing, "get_all_start_methods", lambda: ["spawn", "fork"])
    worker.allow()
    assert worker.VARIABLE not in worker.os.environ


@pytest.mark.parametrize("unit", [1, 1024])
def test_the_peak_of_memory_is_in_bytes_whatever_the_system_counts_in(monkeypatch, unit):
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    monkeypatch.setattr(machine.resource, "getrusage", lambda _: type("Usage", (), {"ru_maxrss": peak // unit}))
    assert machine.peak_memory() == pytest.approx(peak, rel=0.01)


def test_names_are_asked_of_the_system(monkeypatch, tmp_path):
    (tmp_path / "sysctl").write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo "Apple M9"')
    (tmp_path / "sysctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def absent(_path):
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", absent)
    machine.cpu_name.cache_clear()
    assert machine.cpu_name() == "Apple M9"
    machine.cpu_name.cache_clear()
    assert machine.loopback() == "lo"
    monkeypatch.setattr(machine.socket, "if_nameindex", lambda: [(1, "lo0"), (4, "en0")])
    assert machine.loopback() == "lo0"


def test_no_other_module_looks_for_what_systems_differ_in():
    words = re.compile(r"sched_getaffinity|ru_maxrss|sys\.platform|platform\.system|\"/proc|\"/dev/shm|os\.uname")
    found = {path.name for path in (ROOT / "clce_bench").rglob("*.py") if words.search(path.read_text())}
    assert found == {"machine.py"}
