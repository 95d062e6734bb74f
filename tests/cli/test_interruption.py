"""Ctrl-C, sent for real: two lines and no more."""

import os
import signal
import subprocess
import sys
import time

import pytest

from clce_bench.execution.interruption import MESSAGE
from tests.helpers.miniature import ROOT

SNAKEFILE = """
import pathlib, time
from clce_bench.execution import interruption
interruption.answer_briefly(at_once=True)
if pathlib.Path("wait").exists():
    pathlib.Path("begun-a").touch()
    time.sleep(60)

onstart:
    interruption.answer_briefly()

rule all:
    input: "a", "b"

rule sleep:
    output: "{name}"
    shell: "touch begun-{wildcards.name}; sleep 60; touch {output}"

onerror:
    if not interruption.was_interrupted():
        print("WHAT THERE IS")
"""


def interrupted(command, begun, folder):
    """Starts a command in a process group of its own, as a terminal does, and sends Ctrl-C once it has begun."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not begun() and process.poll() is None:
        time.sleep(0.1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


def test_a_verb_says_two_lines(tmp_path):
    grid, figure = "{name: main, dataset: digits, loss: ce}", "{kind: 'slow:Slow', grid: main}"
    (tmp_path / "x.yaml").write_text(f"name: x\ngrids: [{grid}]\nfigures: [{figure}]\n")
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "clce_bench.cli", "status", "--experiment", "x.yaml"]
    status, _, error = interrupted(command, (tmp_path / "begun").exists, tmp_path)
    assert status == -signal.SIGINT
    assert [line for line in error.replace("\r", "\n").splitlines() if line] == MESSAGE.splitlines()


@pytest.mark.parametrize("reading", [True, False])
def test_snakemake_says_two_lines_and_draws_up_no_partial_results(tmp_path, reading):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    if reading:
        (tmp_path / "wait").touch()
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    status, out, error = interrupted(command, (tmp_path / "begun-a").exists, tmp_path)
    assert status != 0
    said = error.replace("\r", "\n").partition(MESSAGE.splitlines()[0])
    assert said[1]
    assert len([line for line in said[2].splitlines() if line]) == 1, error
    assert "WHAT THERE IS" not in out
