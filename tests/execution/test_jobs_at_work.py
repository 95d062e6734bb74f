"""No two processes work on one result, and a job that outlives its run is seen."""

import select
import signal
import threading
from pathlib import Path

import pytest

from clce_bench.errors import UserError
from clce_bench.execution.jobs_at_work import FOLDER, at_work, jobs_at_work, wait_for_jobs
from clce_bench.execution.run_lock import refuse_if_held
from tests.helpers.working import start_working, working

CELL = Path("results/cells/x")


@pytest.fixture(autouse=True)
def snakemake_ran():
    FOLDER.parent.mkdir()


def test_a_job_says_which_process_works_on_what_until_it_ends():
    with working("train", CELL) as job, working("evaluate", CELL / "metrics.json"):
        said = sorted(jobs_at_work().values())
        assert len(said) == 2
        assert said[1].startswith(f"train {CELL}: process {job.pid} on ")
        with pytest.raises(UserError, match="still works on it and may need what would change"):
            refuse_if_held()
    assert jobs_at_work() == {}
    refuse_if_held()


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM])
def test_however_it_ends_the_wait_for_it_ends_too(number):
    told = []
    with working("train", CELL) as job:
        threading.Timer(0.5, lambda: job.send_signal(number) if number else job.communicate("\n")).start()
        assert wait_for_jobs(told.append)
    assert len(told) == 1
    assert not wait_for_jobs(told.append)
    assert (list(FOLDER.iterdir()) == []) == (number is None)  # Only a killed one leaves its file, which binds nobody.


def test_work_on_one_result_is_done_in_turn_and_on_others_at_once(tmp_path):
    (tmp_path / "link").symlink_to(".")
    with working("train", CELL), working("train", Path("results/cells/y")):
        same = start_working("train", tmp_path / "link" / CELL)
        assert not select.select([same.stdout], [], [], 1.0)[0]
    assert same.stdout.readline() == "begun\n"
    assert str(same.pid) in "".join(jobs_at_work().values())
    same.communicate("\n")
    assert jobs_at_work() == {}


def test_processes_that_train_one_cell_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with working("train", Path("other")), at_work("train", Path("other")):
        pass
    monkeypatch.setenv("RANK", "0")
    with at_work("train", CELL):
        assert len(jobs_at_work()) == 1


def test_where_snakemake_never_ran_nothing_is_left():
    FOLDER.parent.rmdir()
    with at_work("train", CELL):
        assert jobs_at_work() == {}
    assert not FOLDER.parent.exists()


@pytest.mark.parametrize("said", ["", "{", "[]", '{"process": 1}'])
def test_a_damaged_note_stops_nobody(said):
    with at_work("train", CELL):
        (path,) = FOLDER.iterdir()
        path.write_text(said)
        assert "still works on it" in jobs_at_work()[path]
    path.write_text(said)
    assert jobs_at_work() == {}
    with at_work("train", CELL):
        pass
