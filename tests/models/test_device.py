"""Each job has a device of its own, whatever happens to the others."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
import torch

from clce_bench.errors import UserError
from clce_bench.models.device import acquired_device, acquired_for_processes, locked, pick_device
from tests.helpers.processes import forkserver


def take(folder, count, said, child):
    """Takes so many of two GPUs, says which, perhaps has a child, and keeps them."""
    said.send("asks")
    with locked(["gpu0", "gpu1"], count, folder) as places:
        said.send(places)
        if child and (number := os.fork()):
            said.send(number)
        time.sleep(60)


@contextmanager
def taking(folder, count=1, child=False):
    """Starts a process that takes GPUs; yields it and what hears it."""
    heard, said = forkserver().Pipe(duplex=False)
    process = forkserver().Process(target=take, args=(folder, count, said, child))
    process.start()
    try:
        assert heard.recv() == "asks"
        yield process, heard
    finally:
        process.kill()
        process.join()


def test_processes_get_different_devices_and_wait_for_a_free_one(tmp_path):
    with taking(tmp_path) as (one, first), taking(tmp_path) as (_, second):
        assert sorted(first.recv() + second.recv()) == [0, 1]
        with taking(tmp_path) as (third, last):
            assert not last.poll(2)
            assert third.is_alive()
            one.kill()
            one.join()
            assert last.recv() in ([0], [1])


def test_a_lock_ends_with_its_process_even_while_a_child_of_it_lives(tmp_path):
    with taking(tmp_path, 2, child=True) as (process, heard):
        assert heard.recv() == [0, 1]
        child = heard.recv()
        process.kill()
        process.join()
        try:
            os.kill(child, 0)
            with locked(["gpu0", "gpu1"], 2, tmp_path) as places:
                assert places == [0, 1]
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_needs_several_takes_none_before_all_are_free(tmp_path):
    with taking(tmp_path) as (one, first):
        assert first.recv() == [0]
        with taking(tmp_path, 2) as (_, both):
            assert not both.poll(2)
            with locked(["gpu0", "gpu1"], 1, tmp_path) as places:  # The one that waits does not keep it.
                assert places == [1]
            one.kill()
            one.join()
            assert both.recv() == [0, 1]


def test_devices_that_this_machine_lacks_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        UserError, match="runtime.device: 'cuda' is not allowed: torch finds none here. Allowed: 'auto',"
    ):
        pick_device("cuda")
    with acquired_device("auto") as device, acquired_for_processes("auto", 2) as variables:
        assert device == torch.device("cpu")
        assert variables == {}
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == torch.device("mps")


def test_gpus_are_locked_by_what_does_not_depend_on_their_number(tmp_path, monkeypatch):
    class Properties:
        def __init__(self, uuid):
            self.uuid = uuid

    chosen = []
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: Properties(f"uuid-{place}"))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with acquired_device() as device:
        assert device == torch.device("cuda", 0)
        assert (next(tmp_path.glob("clce-bench-*")) / "devices" / "uuid-0.lock").exists()
    with acquired_for_processes("cuda", 2) as variables:
        assert variables == {"CUDA_VISIBLE_DEVICES": "GPU-uuid-0,GPU-uuid-1"}
    with (
        pytest.raises(UserError, match="runtime.processes: 3 is not allowed. Allowed: at most 2"),
        acquired_for_processes("cuda", 3),
    ):
        pass
    monkeypatch.setenv("LOCAL_RANK", "1")
    with acquired_device() as device:
        assert device == torch.device("cuda", 1)
    assert chosen == [0, torch.device("cuda", 1)]
