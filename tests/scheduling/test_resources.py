"""What jobs ask a cluster for."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clce_bench.costs.cell_cost import CellCost
from clce_bench.costs.history import Past, past_of, speed_of
from clce_bench.costs.speeds import FILE, workload
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.files import read_json, write_json
from clce_bench.machine import cpu_name
from clce_bench.planning.plan import plan_of
from clce_bench.scheduling.resources import (
    LOADER_MB,
    PROCESS_MB,
    SLOW_CORE,
    SLOW_GPU,
    Estimates,
    evaluation_needs,
    features_needs,
    given_to_this_job,
    training_needs,
)
from tests.helpers.interpreters import python
from tests.helpers.made_up import change_record, make_up
from tests.helpers.miniature import ROOT

CELL = plan_of(
    parse_experiment({"name": "x", "grids": [{"name": "a", "dataset": "digits", "loss": "ce"}], "figures": []}, "")
).cells[0]
FROZEN = CELL.model_copy(update={"backbone": CELL.backbone.model_copy(update={"freeze": "blocks"})})
COST = CellCost(
    flops=3600 * SLOW_GPU, weights=10**9, row=10**7, rows=100, disk=0, probe=3600 * SLOW_CORE, evaluation=10**10
)


def test_an_hour_of_a_slow_gpu_asks_for_more_than_an_hour():
    found = training_needs(FROZEN, Runtime(), 1, COST, None, None)
    assert (found.gpu, found.runtime, found.mem_mb) == (1, 92, PROCESS_MB)


def test_without_a_gpu_the_network_lies_in_main_memory():
    found = training_needs(CELL, Runtime(device="cpu"), 0, COST, None, None)
    assert found.gpu == 0
    assert found.mem_mb == PROCESS_MB + 1.5 * (1000 + 1000)


def test_what_its_like_took_beats_an_estimate_and_a_measured_speed_a_guess():
    assert training_needs(FROZEN, Runtime(), 1, COST, Past(memory=4000, seconds=600), None).runtime == 17
    assert training_needs(FROZEN, Runtime(), 1, COST, Past(memory=4000, seconds=600), None).mem_mb == 6292
    assert training_needs(CELL, Runtime(), 1, COST, None, 2 * SLOW_GPU).runtime == 47


def test_several_processes_have_a_gpu_memory_and_cores_each():
    found = training_needs(CELL, Runtime(processes=4, workers=2), 4, COST, None, None)
    assert (found.gpu, found.cpus_per_task, found.nodes) == (4, 12, 1)
    assert found.mem_mb == 4 * PROCESS_MB + 8 * LOADER_MB
    past = Past(memory=4000, seconds=600)
    assert training_needs(CELL, Runtime(processes=4, workers=0), 4, COST, past, None).mem_mb == 4 * 6292 - 2
    assert training_needs(CELL, Runtime(), 1, COST, None, None).nodes is None


def test_images_that_are_decoded_for_each_view_ask_for_loaders():
    assert training_needs(FROZEN, Runtime(workers=3), 1, COST, None, None).cpus_per_task == 1
    assert training_needs(CELL, Runtime(), 0, COST, None, None).cpus_per_task == 1
    found = training_needs(CELL, Runtime(), 1, COST, None, None)
    assert (found.cpus_per_task, found.mem_mb) == (8, PROCESS_MB + 8 * LOADER_MB)
    several = training_needs(CELL, Runtime(processes=4), 4, COST, None, None)  # Which share the cores of their job.
    assert (several.cpus_per_task, several.mem_mb) == (32, 4 * PROCESS_MB + 32 * LOADER_MB)


@given(
    flops=st.floats(1, 1e20),
    memory=st.integers(0, 10**12),
    seconds=st.floats(0.1, 1e6),
    known=st.sampled_from(["cost", "past", "nothing"]),
)
def test_another_attempt_has_twice_of_what_may_have_been_too_small(flops, memory, seconds, known):
    cost = replace(COST, flops=flops, weights=memory) if known == "cost" else None
    past = Past(memory / 2**20, seconds) if known == "past" else None
    one, two = (training_needs(CELL, Runtime(), 1, cost, past, None, attempt) for attempt in (1, 2))
    assert (two.mem_mb, two.runtime, two.gpu) == (2 * one.mem_mb, 2 * one.runtime, one.gpu)
    assert one.mem_mb >= PROCESS_MB
    assert one.runtime * 60 >= (seconds if past else 0)


def test_evaluation_asks_for_the_time_of_its_probe_until_others_of_its_kind_were_evaluated():
    guessed = evaluation_needs(COST, None)
    assert (guessed.runtime, guessed.mem_mb, guessed.cpus_per_task, guessed.gpu) == (92, PROCESS_MB + 15_000, 1, 0)
    assert evaluation_needs(COST, Past(4000, 600)) == guessed
    assert evaluation_needs(COST, Past(4000, 600, evaluation=40)).runtime == 3
    assert evaluation_needs(COST, None, attempt=2).runtime == 2 * guessed.runtime
    assert evaluation_needs(None, None).mem_mb == 16_000
    assert evaluation_needs(None, Past(4000, 600, stored=10**8)).mem_mb == PROCESS_MB + 1050


def test_features_ask_for_the_time_of_their_operations():
    assert features_needs(3600 * SLOW_GPU, gpus=1).runtime == 100
    assert features_needs(3600 * SLOW_CORE, gpus=0).runtime == 100
    assert features_needs(None, gpus=0).runtime == 10 + 1.5 * 240


def test_evaluation_and_features_of_a_plan():
    _, plan = make_up()
    found = Estimates(plan, gpus=0)
    key = plan.cells[0].key
    assert found.evaluation(key).runtime == found.training(key).runtime == 3
    for features in plan.jobs["features"]:
        assert found.features(features, attempt=2).runtime == 2 * found.features(features).runtime


def test_cells_are_small_when_their_like_were():
    _, plan = make_up()
    assert Estimates(plan, gpus=0).small
    asked = Estimates(plan, gpus=0).training(plan.cells[0].key)
    assert (asked.runtime, asked.mem_mb) == (3, PROCESS_MB)
    for cell in plan.cells[:8]:
        change_record(cell, seconds=3000.0)
    assert not Estimates(plan, gpus=0).small


def test_a_batch_of_small_cells_asks_for_a_minute_each_and_large_cells_for_all_they_need():
    _, plan = make_up()
    found = Estimates(plan, gpus=0, batch=32)
    (plan.cells[1].directory / "cell.json").unlink()
    key = plan.cells[1].key
    assert (found.training(key).runtime, found.evaluation(key).runtime) == (1, 0)
    assert found.evaluation(plan.cells[0].key).runtime == 1  # It is trained, and has nobody to ask for it.
    change_record(plan.cells[0], seconds=3000.0)
    large = Estimates(plan, gpus=0, batch=32)
    assert (large.training(key).runtime, large.evaluation(key).runtime) == (77, 3)


def test_only_those_count_that_ran_as_the_next_ones_will():
    _, plan = make_up()
    cells, one = plan.cells[:2], Runtime()
    assert past_of(cells, one, 0).seconds == 3.5
    assert past_of(cells, one, 1) is None
    assert past_of(cells, Runtime(processes=2), 0) is None
    machine = read_json(cells[1].directory / "cell.json")["environment"] | {"gpu": "a GPU"}
    change_record(cells[1], seconds=100.0, environment=machine, runtime={"processes": 1})
    assert (past_of(cells, one, 0).seconds, past_of(cells, one, 1).seconds) == (3.5, 100)
    change_record(cells[0], resumed=1)
    assert past_of(cells, one, 0) is None


def test_a_gpu_is_as_fast_as_gpus_were_and_a_core_as_this_processor():
    _, plan = make_up()
    cell = plan.cells[0]
    speeds = {cpu_name(): {workload(cell): 1e10}, "NVIDIA H100": {workload(cell): 1e14}}
    write_json(FILE, {"training": speeds})
    assert (speed_of(cell, gpu=False), speed_of(cell, gpu=True)) == (1e10, 1e14)


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, {"slot": 1}),
        ({"SLURM_CPUS_PER_TASK": "8"}, {"cpus_per_task": 8}),
        ({"SLURM_CPUS_PER_TASK": "8", "SLURM_GPUS": "a100:2"}, {"cpus_per_task": 8, "gpu": 2}),
    ],
)
def test_a_job_is_held_to_what_it_was_given(environment, given, monkeypatch):
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_GPUS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert given_to_this_job() == given


def test_cells_of_which_nothing_is_known_are_not_taken_for_small():
    values = {"name": "x", "grids": [{"name": "a", "dataset": "digits", "loss": "ce"}], "figures": []}
    assert not Estimates(plan_of(parse_experiment(values, ""))).small


@pytest.fixture(scope="module")
def options():
    return set(re.findall(r"--([a-z][a-z-]+)", python("-m", "snakemake", "--help").stdout))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml")))
def test_profiles_say_what_snakemake_understands(name, options):
    profile = yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
    foreign = {
        key for key in profile if key.startswith("cluster-generic-")
    }  # Its plugin is not installed with this project.
    assert set(profile) - foreign <= options
    assert bool(foreign) == (name == "kubernetes")


def test_without_gpus_a_large_cell_asks_for_cores_and_is_evaluated_by_a_job_of_its_own(tmp_path):
    experiment = {"name": "x", "figures": [], "grids": [{"name": "a", "dataset": "digits", "loss": "ce"}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(experiment))
    command = ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run"]
    command += ["--profile", str(ROOT / "profiles" / "slurm-nogpu"), "--directory", str(tmp_path)]
    shown = python(*command).stdout
    groups = dict(re.findall(r"Group job (\w+) .*?\n(.*?)\n\[", shown, re.DOTALL))
    assert set(groups) == {"cells", "evaluations"}
    assert "rule train:" in groups["cells"]
    assert {"gpu=0", "cpus_per_task=1", "mem_mb=16000"} <= set(re.findall(r"\w+=\d+", groups["cells"]))
    assert "rule evaluate:" in groups["evaluations"]
    assert "gpu=" not in groups["evaluations"]


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Stands in for the real one: keeps what it is given and answers with what the test says."""
    (tmp_path / "kubectl").write_text(
        f"#!/bin/sh\ncat > {tmp_path}/asked\nprintf '%s' \"$ANSWER\"\nexit ${{STATUS:-0}}\n"
    )
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def call(*command, answer="", status=0):
        environment = {**os.environ, "ANSWER": answer, "STATUS": str(status)}
        path = ROOT / "profiles" / "kubernetes" / command[0]
        done = subprocess.run(
            [path, *command[1:]], env=environment, input="", capture_output=True, text=True, check=True
        )
        return done.stdout.strip(), (tmp_path / "asked").read_text()

    return call


def test_a_pod_gets_what_its_job_asks_for(kubectl):
    name, asked = kubectl("submit", "2300", "3", "8", "1", "/benchmark/.snakemake/tmp.x/job.sh", answer="clce-bench-7")
    assert name == "clce-bench-7"
    job = yaml.safe_load(asked)["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert job["activeDeadlineSeconds"] == 180
    assert container["command"] == ["sh", "/benchmark/.snakemake/tmp.x/job.sh"]
    assert container["resources"]["limits"] == {"cpu": 8, "memory": "2300M", "nvidia.com/gpu": 1}


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [("is  ", 0, "running"), ("is 1 ", 0, "success"), ("is  1", 0, "failed"), ("", 0, "failed"), ("", 1, "running")],
)
def test_a_pod_runs_until_it_is_known_to_have_ended(kubectl, answer, status, expected):
    assert kubectl("status", "clce-bench-7", answer=answer, status=status)[0] == expected


APPTAINER = f"""#!/bin/bash
[ "$1" = --version ] && exec echo apptainer version 1.3.0
while [ "$1" != bash ]; do [ "$1" = containers/clce-bench.sif ] && echo inside >> calls; shift; done
python() {{ {sys.executable} "$@"; }}
export -f python
PATH=/usr/bin:/bin exec "$@"
"""


def test_in_a_container_jobs_run_the_code_of_the_project(tmp_path, monkeypatch):
    """A stand-in for Apptainer: a shell that finds nothing but a Python."""
    experiment = {"name": "x", "figures": [], "grids": [{"name": "a", "dataset": "digits", "loss": "ce"}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "clce-bench.sif").touch()
    for name in ("apptainer", "singularity"):
        (tmp_path / name).write_text(APPTAINER)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command = ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    done = python(*command, "--sdm", "apptainer", "--until", "splits")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "calls").read_text().split() == ["inside", "inside"]
    assert len(list(tmp_path.glob("results/splits/*/splits.json"))) == 1


def test_the_conda_environment_has_the_pinned_versions():
    environment = yaml.safe_load((ROOT / "workflow/envs/clce_bench.yaml").read_text())
    pins = set(environment["dependencies"][-1]["pip"])
    normal = {re.sub("[-_.]+", "-", pin.lower()) for pin in (ROOT / "requirements.lock").read_text().splitlines()}
    assert len(pins) > 20
    assert {re.sub("[-_.]+", "-", pin.lower()) for pin in pins} <= normal


def test_the_conda_environment_has_all_that_jobs_import():
    """Snakemake and its plugins stay outside."""
    environment = yaml.safe_load((ROOT / "workflow/envs/clce_bench.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = {name_of(pin) for pin in environment["dependencies"][-1]["pip"]}
    needed = {name_of(pin) for pin in project["dependencies"] + project["optional-dependencies"]["pipeline"]}
    assert {name for name in needed if not name.startswith("snakemake")} <= there


def name_of(pin):
    return re.sub("[-_.]+", "-", re.split("[<>=]", pin)[0].lower())
