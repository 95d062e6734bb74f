"""One run at a time in a folder, however the one before it ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clce_bench.errors import UserError
from clce_bench.execution import run_lock
from clce_bench.execution.run_lock import PLACE, SNAKEMAKES, hold_folder, refuse_if_held

# Under nohup a process inherits that hang-ups are ignored.
HOLD = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
HOLD += "from clce_bench.execution.run_lock import hold_folder; print(hold_folder(), flush=True); input()"


@pytest.fixture(autouse=True)
def released():
    yield
    while run_lock._held:
        run_lock._held.pop().close()


@pytest.fixture
def other():
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"False\n"
    yield process
    process.kill()
    process.wait()


def leave_lock():
    SNAKEMAKES.mkdir(parents=True, exist_ok=True)
    (SNAKEMAKES / "0.output.lock").write_text("results/cells/x")


def test_a_second_run_is_refused_with_the_first_ones_process_and_leaves_its_lock(other):
    leave_lock()
    for refuse in (hold_folder, refuse_if_held):
        with pytest.raises(UserError, match=f"process {other.pid} on "):
            refuse()
    assert (SNAKEMAKES / "0.output.lock").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_however_a_run_ended_the_next_goes_on_and_says_so(other, number):
    leave_lock()
    other.send_signal(number)
    other.wait()
    refuse_if_held()  # Nobody runs: what the lock says is of no importance.
    assert hold_folder()
    assert list(SNAKEMAKES.iterdir()) == []
    assert json.loads(PLACE.read_text())["process"] == os.getpid()


def test_a_run_that_ended_well_leaves_nothing_to_remove(other):
    other.communicate(b"\n")
    assert not hold_folder()


def test_a_lock_from_another_machine_is_left_where_it_is():
    PLACE.parent.mkdir()
    PLACE.write_text(json.dumps({"process": 1, "host": "another machine"}))
    leave_lock()
    assert not hold_folder()
    assert (SNAKEMAKES / "0.output.lock").exists()


@pytest.mark.parametrize("said", ["", "{", "[]"])
def test_a_damaged_note_stops_nobody(said):
    PLACE.parent.mkdir()
    PLACE.write_text(said)
    leave_lock()
    refuse_if_held()
    assert hold_folder()


def test_where_nothing_ever_ran_nothing_is_refused():
    refuse_if_held()
    assert not Path(".snakemake").exists()
