"""What Snakemake is told of the jobs of a plan, and which of them share a cluster's job."""

import os
import time
from pathlib import Path

import pytest

from clce_bench.files import read_json
from clce_bench.planning.job import Node
from clce_bench.scheduling.batching import batch_size, groups_of
from clce_bench.scheduling.job_inputs import DUE, begin, inputs_of_jobs
from tests.helpers.made_up import make_up

GRID = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1, 2]}


def ancient(path):
    return f"ancient {path}"


@pytest.fixture
def plan():
    return make_up(grids=[GRID], figures=[])[1]


def test_what_is_to_run_is_younger_than_all_results_and_what_is_not_has_nothing_young(plan):
    cell, other, *_ = plan.cells
    (cell.directory / "metrics.json").unlink()
    os.utime(other.directory / "cell.json", (2e9, 2e9))  # Trained, it seems, after it was evaluated.
    reruns = begin(plan)
    inputs = inputs_of_jobs(plan, reruns, ancient)
    assert set(inputs) == {(verb, key) for verb, jobs in plan.jobs.items() for key in jobs}
    for node in reruns.plan.nodes:
        assert (inputs[node].get("due") == str(DUE)) == (node in reruns.runs)
    key, settled = (f"digits/{one.backbone.name}/{one.name}" for one in (cell, other))
    assert Node("evaluate", key) in reruns.runs
    assert inputs["evaluate", key]["cell"] == str(cell.directory / "cell.json")
    assert inputs["evaluate", settled]["cell"] == f"ancient {other.directory / 'cell.json'}"


def test_a_run_begins_with_the_checked_experiment_and_the_outlines_of_its_code(plan):
    begin(plan)
    assert read_json(plan.folder / "experiment.json")["name"] == "made-up"
    codes = {f"{job.verb}-{job.code}.json" for jobs in plan.jobs.values() for job in jobs.values()}
    assert {path.name for path in Path("results/code").iterdir()} == codes


def test_where_it_was_settled_before_nothing_is_judged_again(plan):
    inputs = inputs_of_jobs(plan, None, ancient)
    assert inputs == {(verb, key): job.inputs for verb, jobs in plan.jobs.items() for key, job in jobs.items()}
    assert not any("due" in paths for paths in inputs.values())


def test_a_batch_is_no_larger_than_what_is_to_be_evaluated(plan):
    for cell in plan.cells[:3]:
        (cell.directory / "metrics.json").unlink()
    reruns = begin(plan)
    assert [batch_size(configured, reruns) for configured in (1, 2, 32)] == [1, 2, 3]
    assert batch_size(32, None) == 32  # A job of a cluster knows only itself.


def test_small_cells_share_a_job_and_large_ones_are_evaluated_alone():
    assert groups_of(remote=False, small=True) == ("small_cells", "small_cells")
    assert groups_of(remote=False, small=False) == ("cells", "evaluations")
    assert groups_of(remote=True, small=False) == groups_of(remote=True, small=True) == ("batch", "batch")


@pytest.mark.parametrize("ahead", [10, 10**9])
def test_results_from_the_future_do_not_make_what_runs_now_old(plan, ahead):
    future = time.time() + ahead
    cell = plan.cells[0]
    (cell.directory / "metrics.json").unlink()
    for path in (cell.directory / "cell.json", cell.directory / "metrics.npz", plan.folder / "report.html", DUE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (future, future))
    reruns = begin(plan)
    key = f"digits/{cell.backbone.name}/{cell.name}"
    inputs = inputs_of_jobs(plan, reruns, ancient)["evaluate", key]
    assert inputs["cell"] == f"ancient {cell.directory / 'cell.json'}"
    new = Path("new")
    new.touch()
    assert (plan.folder / "report.html").stat().st_mtime_ns < DUE.stat().st_mtime_ns <= new.stat().st_mtime_ns


@pytest.mark.parametrize("content", ["", "{", '{"clce_bench.training.train": {"fit"', "[]", "null"])
def test_what_is_known_of_code_is_written_again_when_it_was_cut_off(plan, content):
    begin(plan)
    whole = {path: path.read_text() for path in Path("results/code").iterdir()}
    for path in whole:
        path.write_text(content)
    begin(plan)
    assert {path: path.read_text() for path in Path("results/code").iterdir()} == whole
