"""Several processes train one cell as one process does."""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from safetensors.torch import load_file

from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.experiment.recipes import Runtime
from clce_bench.files import read_json
from clce_bench.training import distributed
from clce_bench.training.train import train_cell
from tests.helpers.jobs import BACKBONE, job_of
from tests.helpers.miniature import ROOT
from tests.training.test_training import cells


@pytest.fixture(scope="module")
def job(tmp_path_factory, backbone):
    """Digits, so that processes of their own know the data set."""
    keys = {
        "backbone": {**BACKBONE, "freeze": "none"},
        "datasets": {"digits": {"size": 32, "split": {"images_per_class": 4, "test": 0.97}}},
        "recipe": {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.05, "reference_batch_size": 16},
    }
    (cell,) = cells("clce", dataset="digits", **keys)
    return job_of(cell, tmp_path_factory.mktemp("digits"), backbone)


def test_two_processes_train_as_one_does(job, tmp_path, monkeypatch):
    train_cell(job, tmp_path / "one")
    runtime = {"processes": 2, "micro_batch": 5, "checkpoint_seconds": 0}
    command = ["train", "--job", json.dumps(job), "--output", str(tmp_path / "two"), "--runtime", json.dumps(runtime)]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", ["clce-bench", *command])
    heard, own = set(), psutil.Process()
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(command_status, command)
        while not running.done():
            heard |= listeners(own.children(recursive=True))
            time.sleep(0.5)
    assert running.result() == 0
    assert heard <= {"127.0.0.1"}
    with socket.create_server(("127.0.0.1", 0)):
        assert "127.0.0.1" in listeners([own])  # Had they listened, it would have been heard.
    assert read_json(tmp_path / "two" / "cell.json")["runtime"]["processes"] == 2
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        # Sums in another order differ by rounding, which single weights near 0 show most.
        assert (two[name] - value).double().norm() <= 1e-4 * value.double().norm() + 1e-6, name


def listeners(processes):
    """Finds the addresses on which processes listen."""
    found = set()
    for process in processes:
        with suppress(psutil.Error):  # Ended meanwhile.
            places = process.net_connections("inet")
            found |= {place.laddr.ip for place in places if place.status == psutil.CONN_LISTEN}
    return found


def test_what_processes_cannot_do_is_refused(job, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(UserError, match="batch_size: 16 cannot be shared by 3 processes evenly"):
        train_cell(job, tmp_path)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(UserError, match="runtime.micro_batch: 'auto' is not allowed with several processes"):
        train_cell(job, tmp_path, Runtime(micro_batch="auto"))
