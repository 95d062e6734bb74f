"""The warm process gives the result that a process of one's own gives."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from clce_bench.execution import worker, worker_client
from tests.helpers.miniature import ROOT


@pytest.fixture
def warmed(monkeypatch, tmp_path_factory):
    """A running warm process that belongs to this one."""
    with served(monkeypatch, Path(tmp_path_factory.mktemp("w")), ("numpy",)) as process:
        yield process


@contextmanager
def served(monkeypatch, folder, modules):
    monkeypatch.setenv(worker.VARIABLE, json.dumps({"folder": str(folder), "owner": os.getpid()}))
    process = serve(folder, os.getpid(), modules)
    deadline = time.monotonic() + 30
    while not (folder / "socket").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()


def serve(folder, owner, modules=()):
    code = "import sys; from pathlib import Path; from clce_bench.execution import worker_process;"
    code += f"worker_process.MODULES = {modules!r}; worker_process.serve(Path(sys.argv[1]), int(sys.argv[2]))"
    return subprocess.Popen([sys.executable, "-c", code, str(folder), str(owner)])


def command(arguments):
    code = f"import sys; from clce_bench.cli import main; sys.argv[1:] = {arguments!r}; main()"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_job_runs_in_the_warm_process_with_its_own_folder_and_output(warmed):
    Path("data").mkdir()
    job = '{"spec":{"dataset":"digits","size":8}}'
    done = command(["dataset", "--job", job, "--output", "data/warm"])
    assert done.wait() == 0
    assert (Path("data/warm/dataset.json")).exists()
    bad = command(["plan", "--experiment", "none.yaml"])
    assert bad.wait() == 2
    assert bad.stderr.read() == "error: none.yaml: there is no such experiment file.\n"


ASK = """
import sys
from clce_bench.execution import worker_client
sys.exit(worker_client.run("clce_bench.asked:status", ["light"]))
"""
ASKED_FOR = """
from clce_bench import seeds

def status(arguments):
    print(seeds.__doc__)
    return 0
"""


def test_a_job_runs_the_code_as_it_is_on_disk(monkeypatch, tmp_path):
    package = tmp_path / "clce_bench"
    shutil.copytree(ROOT / "clce_bench", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "asked.py").write_text(ASKED_FOR)
    (package / "seeds.py").write_text('"""Before."""')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "w").mkdir()

    def answer():
        return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)

    with served(monkeypatch, tmp_path / "w", ("clce_bench.asked",)):
        assert answer().stdout == "Before.\n"
        (package / "seeds.py").write_text('"""Now it is another."""')
        assert answer().stdout == "Now it is another.\n"


def test_large_command_lines_pass(warmed):
    bad = command(["dataset", "--job", "{" + "x" * 100_000, "--output", "x"])
    assert bad.wait() == 2
    assert "neither JSON nor a file of it" in bad.stderr.read()


def test_without_a_warm_process_a_job_runs_by_itself(monkeypatch, tmp_path):
    monkeypatch.setenv(worker.VARIABLE, json.dumps({"folder": str(tmp_path), "owner": os.getpid()}))
    done = command(["dataset", "--job", '{"spec":{"dataset":"digits","size":8}}', "--output", "data"])
    assert done.wait() == 0
    assert not (tmp_path / "starting").exists()  # Light jobs start none.


def test_the_warm_process_ends_with_its_owner(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "w").mkdir()
    process = serve(tmp_path / "w", owner.pid)
    time.sleep(0.5)
    assert process.poll() is None
    owner.communicate(b"\n")
    assert process.wait(timeout=10) == 0
    assert not (tmp_path / "w").exists()


ASKED = """
import os, signal, sys, time
from clce_bench.execution import worker_client

def save(*_):
    print("saved", flush=True)
    sys.exit(75)

signal.signal(signal.SIGTERM, save)
print(worker_client.run("module:function", ["dataset"]), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_is_asked_to_end_when_its_run_is_gone_however_that_ended(monkeypatch, tmp_path, number):
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv(worker.VARIABLE, json.dumps({"folder": str(tmp_path), "owner": owner.pid}))
    job = subprocess.Popen([sys.executable, "-c", ASKED], stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "None\n"
    assert job.poll() is None
    owner.send_signal(number)
    owner.wait()
    assert job.communicate(timeout=10)[0] == "saved\n"
    assert job.returncode == 75


def allowed(monkeypatch, folder):
    monkeypatch.setenv(worker.VARIABLE, json.dumps({"folder": str(folder), "owner": os.getpid()}))


DYING = {
    "at once": "import sys; sys.exit('no memory left')",
    "by a signal": "import os, sys; print('no memory left', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
    "by an import": "raise ImportError('no memory left')",
}


@pytest.mark.parametrize("code", DYING.values(), ids=DYING.keys())
def test_when_it_dies_early_no_job_waits_and_its_last_words_are_kept(monkeypatch, tmp_path, code):
    allowed(monkeypatch, tmp_path)
    start = subprocess.Popen
    monkeypatch.setattr(worker.subprocess, "Popen", lambda _, **options: start([sys.executable, "-c", code], **options))
    clock = time.monotonic()
    assert [worker_client.run("module:function", ["train"]) for _ in range(3)] == [None] * 3
    assert time.monotonic() - clock < worker.PATIENCE / 4
    assert worker.LOG.read_text().count("no memory left") == 1


@pytest.mark.parametrize("verbs", [["dataset", "train"], ["dataset", "report"], []])
def test_it_starts_with_the_run_where_heavy_jobs_will_come(monkeypatch, tmp_path, verbs):
    start, started = subprocess.Popen, []

    def dies(command, **options):
        started.append(command)
        return start([sys.executable, "-c", DYING["at once"]], **options)

    monkeypatch.setattr(worker.subprocess, "Popen", dies)
    monkeypatch.setattr(worker.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(worker.VARIABLE, "")
    worker.allow(verbs)
    assert len(started) == ("train" in verbs)
    clock = time.monotonic()
    assert worker_client.run("module:function", ["train"]) is None
    assert len(started) == 1
    assert time.monotonic() - clock < worker.PATIENCE / 4


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_that_needs_torch_once_waits_for_a_process_that_has_begun_and_starts_none(monkeypatch, tmp_path, begun):
    allowed(monkeypatch, tmp_path)
    asked = []
    monkeypatch.setattr(worker, "started", lambda *where: asked.append(where))
    if begun:
        (tmp_path / "starting").touch()
    assert worker_client.run("module:function", ["backbone"]) is None
    assert len(asked) == begun
    assert worker_client.run("module:function", ["dataset"]) is None
    assert len(asked) == begun


def test_when_it_and_the_job_that_started_it_are_gone_no_job_waits(monkeypatch, tmp_path):
    allowed(monkeypatch, tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "starting").write_text(str(gone.pid))
    clock = time.monotonic()
    assert worker_client.run("module:function", ["train"]) is None
    assert time.monotonic() - clock < worker.PATIENCE / 4


@pytest.mark.parametrize("length", [10, 86, 120, 200])
def test_a_folder_for_temporary_files_may_have_any_path(monkeypatch, tmp_path, length):
    place = tmp_path / ("x" * length)
    place.mkdir()
    monkeypatch.setattr(worker.tempfile, "tempdir", str(place))
    monkeypatch.setenv(worker.VARIABLE, "")
    worker.allow()
    address = Path(json.loads(os.environ[worker.VARIABLE])["folder"], "binding")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
    assert list(place.iterdir()) in ([], [address.parent])
    shutil.rmtree(address.parent)
