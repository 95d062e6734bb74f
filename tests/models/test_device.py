"""Each job has a device of its own, whatever happens to the others."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest
import torch

from clce_bench.errors import UserError
from clce_bench.models.device import acquired_device, acquired_for_processes, locked, pick_device

HOLD = """
import sys, time
from pathlib import Path
from clce_bench.models.device import locked
with locked(["gpu0", "gpu1"], int(sys.argv[2]), Path(sys.argv[1])) as places:
    print(*places, flush=True)
    time.sleep(60)
"""


def hold(folder, count=1):
    command = [sys.executable, "-c", HOLD, str(folder), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_get_different_devices_and_wait_for_a_free_one(tmp_path):
    one, other = hold(tmp_path), hold(tmp_path)
    third = None
    try:
        assert {one.stdout.readline(), other.stdout.readline()} == {"0\n", "1\n"}
        third = hold(tmp_path)
        assert select.select([third.stdout], [], [], 5) == ([], [], [])  # Longer than it takes to start: it waits.
        assert third.poll() is None
        one.send_signal(signal.SIGKILL)
        one.wait()
        assert third.stdout.readline() in ("0\n", "1\n")
    finally:
        for process in (one, other, third):
            if process:
                process.kill()
                process.wait()


def test_a_lock_ends_with_its_process_even_while_a_child_of_it_lives(tmp_path):
    code = HOLD.replace(
        "time.sleep(60)", "import os; child = os.fork(); child and print(child, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "2"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0 1\n"
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        os.kill(child, 0)
        with locked(["gpu0", "gpu1"], 2, tmp_path) as places:
            assert places == [0, 1]
    finally:
        os.kill(child, signal.SIGKILL)


def test_who_needs_several_takes_none_before_all_are_free(tmp_path):
    one = hold(tmp_path)
    try:
        assert one.stdout.readline() == "0\n"
        both = hold(tmp_path, 2)
        time.sleep(5)
        with locked(["gpu0", "gpu1"], 1, tmp_path) as places:  # The one that waits does not keep it.
            assert places == [1]
        one.kill()
        one.wait()
        assert both.stdout.readline() == "0 1\n"
    finally:
        one.kill()
        both.kill()
        both.wait()


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
