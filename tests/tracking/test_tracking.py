import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from clce_bench.analysis.summary import write_summary
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import read_json
from clce_bench.planning.plan import plan_of
from clce_bench.tracking.mlflow_store import store_uri, track_experiment
from clce_bench.tracking.run_names import run_names
from tests.helpers.made_up import EXPERIMENT, change_record, make_up


@pytest.fixture
def tracked():
    experiment, plan = make_up(
        grids=[{"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}], figures=[]
    )
    write_summary(experiment, plan.folder)
    track_experiment(experiment, Path("first.json"))
    return experiment, plan


def remake(losses):
    """The same experiment with other losses, its results kept."""
    grid = {"name": "main", "dataset": "digits", "loss": losses, "seed": [0, 1]}
    experiment = parse_experiment({**EXPERIMENT, "grids": [grid], "figures": []}, "")
    return experiment, plan_of(experiment)


def runs(experiment):
    client = MlflowClient(store_uri(experiment))
    found = client.search_runs([client.get_experiment_by_name(experiment.name).experiment_id])
    return client, {run.data.tags["clce.cell"]: run for run in found}


def snapshot(experiment):
    """Everything in the store that a user sees, but for the ids."""
    client, found = runs(experiment)
    names = {run.info.run_id: cell for cell, run in found.items()}
    content = {}
    for cell, run in found.items():
        history = client.get_metric_history(run.info.run_id, "validation")
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        content[cell] = (
            run.info.status,
            run.data.params,
            run.data.metrics,
            tags,
            names.get(run.data.tags.get("mlflow.parentRunId")),
            [(point.step, point.timestamp, point.value) for point in history],
            sorted(item.path for item in client.list_artifacts(run.info.run_id)),
            [(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs],
        )
    return content


def test_every_cell_is_a_nested_run_with_everything_known_of_it(tracked):
    experiment, plan = tracked
    client, found = runs(experiment)
    assert set(found) == {cell.name for cell in plan.cells} | {"experiment"}
    cell = next(cell for cell in plan.cells if cell.contrastive_weight > 0)
    run = found[cell.name]
    assert run.data.tags["mlflow.parentRunId"] == found["experiment"].info.run_id
    assert run.data.tags["clce.status"] == "done"
    assert "sha256=" in run.data.tags["clce.artifact.model.safetensors"]
    assert run.data.params["loss.temperature"] == "0.5"
    assert run.data.params["lambda"] == "0.9"
    assert run.data.metrics["test_top1"] == pytest.approx(read_json(cell.directory / "metrics.json")["metrics"]["top1"])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.timestamp) for point in history] == [(n, 1767225600000 + 1000 * n) for n in (1, 2, 3)]
    assert run.info.start_time == 1767225600000
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"cell.json", "metrics.json", "history.csv"}
    assert {item.path for item in client.list_artifacts(found["experiment"].info.run_id)} >= {"summary.csv"}


def test_runs_are_named_and_described_for_people(tracked):
    experiment, plan = tracked
    client, found = runs(experiment)
    names = {cell.name: found[cell.name].info.run_name for cell in plan.cells}
    assert len(set(names.values())) == len(plan.cells)
    cell = next(cell for cell in plan.cells if cell.contrastive_weight > 0)
    assert names[cell.name] == f"digits: CLCE, λ = 0.9, seed {cell.seed}"
    assert str(cell.directory) in found[cell.name].data.tags["mlflow.note.content"]
    described = client.get_experiment_by_name(experiment.name).tags["mlflow.note.content"]
    assert described == experiment.description
    table = pd.read_parquet(plan.folder / "comparisons.parquet")
    (row,) = table[(table["metric"] == "metric.top1") & (table["loss"] == "clce")].to_dict("records")
    shown = found["experiment"].data.metrics
    assert shown["top1/digits CLCE lambda 0.9 batch 64"] == pytest.approx(row["mean"])


def test_what_varies_is_in_the_name():
    grid = {"name": "main", "dataset": "digits", "loss": "clce", "seed": [0], "batch_size": [16, 64]}
    grid["recipe"] = {"projection_size": [64, 128]}
    experiment = parse_experiment({**EXPERIMENT, "grids": [grid], "figures": []}, "")
    names = run_names(plan_of(experiment).cells).values()
    assert {name.partition(", λ = 0.9, ")[2] for name in names} == {
        f"batch size {size}, projection size {wide}, seed 0" for size in (16, 64) for wide in (64, 128)
    }


def test_a_store_that_was_moved_is_written_anew(tracked, monkeypatch):
    experiment, plan = tracked
    shutil.copytree("results", "elsewhere/results")
    monkeypatch.chdir("elsewhere")
    track_experiment(experiment, Path("moved.json"))
    assert read_json(Path("moved.json"))["written"] == 4
    _, found = runs(experiment)
    assert set(found) == {cell.name for cell in plan.cells} | {"experiment"}
    assert str(Path.cwd()) in found["experiment"].info.artifact_uri
    track_experiment(experiment, Path("again.json"))
    assert read_json(Path("again.json"))["written"] == 0


def test_tracking_again_changes_nothing(tracked):
    experiment, _ = tracked
    before, ids = snapshot(experiment), {cell: run.info.run_id for cell, run in runs(experiment)[1].items()}
    track_experiment(experiment, Path("second.json"))
    assert read_json(Path("first.json"))["written"] == 4
    assert read_json(Path("second.json"))["written"] == 0
    assert snapshot(experiment) == before
    assert {cell: run.info.run_id for cell, run in runs(experiment)[1].items()} == ids


def test_a_lost_store_is_restored(tracked, monkeypatch):
    experiment, plan = tracked
    before = snapshot(experiment)
    # In a new place and process, as MLflow keeps the connection to a deleted file open.
    shutil.copytree("results", "elsewhere/results", ignore=shutil.ignore_patterns("mlflow"))
    monkeypatch.chdir("elsewhere")
    command = [sys.executable, "-m", "clce_bench.cli", "track", "--experiment", str(plan.folder / "experiment.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "4 runs written, 0 up to date" in done.stderr
    assert snapshot(experiment) == before


def test_a_cell_that_was_trained_again_replaces_its_run(tracked):
    experiment, plan = tracked
    cell = plan.cells[0]
    change_record(cell, status="diverged", reason="the loss was inf in epoch 1, step 1")
    track_experiment(experiment, Path("second.json"))
    assert read_json(Path("second.json"))["written"] == 1
    _, found = runs(experiment)
    assert len(found) == 5
    assert (found[cell.name].info.status, found[cell.name].data.tags["clce.status"]) == ("FAILED", "diverged")


def test_a_cell_that_left_the_experiment_leaves_the_store(tracked):
    _, plan = tracked
    experiment, _ = remake(["ce"])
    track_experiment(experiment, None)
    _, found = runs(experiment)
    assert set(found) == {cell.name for cell in plan.cells if cell.contrastive_weight == 0} | {"experiment"}
