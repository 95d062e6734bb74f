import multiprocessing
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from clce_bench.analysis.summary import write_summary
from clce_bench.cli import command_status
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import read_json
from clce_bench.planning.plan import plan_of
from clce_bench.results.verification import verify
from clce_bench.tracking import mlflow_store
from clce_bench.tracking.mlflow_store import store_uri, track_experiment
from clce_bench.tracking.run_names import run_names
from clce_bench.tracking.store_check import check_store
from tests.helpers.interpreters import python
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


def test_a_lost_store_is_restored_and_what_the_run_left_about_it_too(tracked, monkeypatch):
    experiment, plan = tracked
    usual, asked = plan.folder / "tracked.json", ["track", "--experiment", str(plan.folder / "experiment.json")]
    for path in plan.jobs["track"][plan.experiment.name].inputs.values():
        Path(path).touch()
    assert command_status([*asked, "--output", str(usual)]) == 0
    before, record = snapshot(experiment), usual.with_name("tracked.job.json")
    assert [verify([record]), read_json(usual)["written"]] == [[], 0]
    # In a new place and process, as MLflow keeps the connection to a deleted file open.
    shutil.copytree("results", "elsewhere/results", ignore=shutil.ignore_patterns("mlflow"))
    monkeypatch.chdir("elsewhere")
    done = python("-m", "clce_bench.cli", *asked)
    assert "4 runs written, 0 up to date" in done.stderr
    assert snapshot(experiment) == before
    assert [verify([record]), read_json(usual)["written"]] == [[], 4]


def test_a_process_that_is_killed_while_it_makes_the_store_leaves_none(tmp_path):
    experiment, _ = make_up(grids=[{"name": "main", "dataset": "digits", "loss": "ce"}], figures=[])
    for place in ("_initialize_tables", "shutil.copy", "Path.replace"):
        child = multiprocessing.get_context("fork").Process(target=die_within, args=(experiment, place, tmp_path))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        check_store(experiment.tracking.uri)
    track_experiment(experiment, Path("tracked.json"))
    assert read_json(Path("tracked.json"))["written"] == 1


def die_within(experiment, place, folder):
    """Tracks in this process, which dies within a step of making the store, with half of what that writes."""
    holder, _, name = place.rpartition(".")

    def dying(*arguments):
        if name == "copy":
            Path(arguments[1]).write_bytes(b"SQLite format 3\0" * 10)
        os.kill(os.getpid(), signal.SIGKILL)

    mlflow_store._initialize_tables = lambda _: None
    mlflow_store.shutil.copy = lambda _, target: Path(target).touch()
    setattr(getattr(mlflow_store, holder) if holder else mlflow_store, name, dying)
    tempfile.tempdir = str(folder)
    track_experiment(experiment, None)


def test_a_cell_that_was_trained_again_replaces_its_run(tracked):
    experiment, plan = tracked
    cell = plan.cells[0]
    change_record(cell, status="diverged", reason="the loss was inf in epoch 1, step 1", peak_memory_mib=None)
    track_experiment(experiment, Path("second.json"))
    assert read_json(Path("second.json"))["written"] == 1
    _, found = runs(experiment)
    assert len(found) == 5
    assert found[cell.name].data.metrics.keys() & {"seconds", "peak_memory_mib"} == {"seconds"}
    assert (found[cell.name].info.status, found[cell.name].data.tags["clce.status"]) == ("FAILED", "diverged")


def test_a_cell_that_left_the_experiment_leaves_the_store(tracked):
    _, plan = tracked
    experiment, _ = remake(["ce"])
    track_experiment(experiment, None)
    _, found = runs(experiment)
    assert set(found) == {cell.name for cell in plan.cells if cell.contrastive_weight == 0} | {"experiment"}
