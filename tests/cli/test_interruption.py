"""Ctrl-C, sent for real: two lines and no more."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clce_bench.execution.interruption import MESSAGE
from tests.helpers.interpreters import python
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


# Has a process group of its own, as what a terminal starts, and its number in a file.
LEADER = "import os, pathlib; os.setsid(); pathlib.Path('leader').write_text(str(os.getpid()))\n"


def interrupted(module, arguments, begun, folder):
    """Runs the command line of a module and sends Ctrl-C once it has begun."""
    program = f"{LEADER}from {module} import main; main()"
    with ThreadPoolExecutor(1) as aside:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        running = aside.submit(python, "-c", program, *arguments, cwd=folder, env=environment, timeout=60)
        while not begun.exists() and not running.done():
            time.sleep(0.1)
        time.sleep(0.5)
        if not running.done():
            os.killpg(int((folder / "leader").read_text()), signal.SIGINT)
        done = running.result()
    return done.returncode, done.stdout, done.stderr


def test_a_verb_says_two_lines(tmp_path):
    grid, figure = "{name: main, dataset: digits, loss: ce}", "{kind: 'slow:Slow', grid: main}"
    (tmp_path / "x.yaml").write_text(f"name: x\ngrids: [{grid}]\nfigures: [{figure}]\n")
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n")
    command = ["status", "--experiment", "x.yaml"]
    status, _, error = interrupted("clce_bench.cli", command, tmp_path / "begun", tmp_path)
    assert status == -signal.SIGINT
    assert [line for line in error.replace("\r", "\n").splitlines() if line] == MESSAGE.splitlines()


@pytest.mark.parametrize("reading", [True, False])
def test_snakemake_says_two_lines_and_draws_up_no_partial_results(tmp_path, reading):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    if reading:
        (tmp_path / "wait").touch()
    status, out, error = interrupted("snakemake.cli", ["--cores", "2"], tmp_path / "begun-a", tmp_path)
    assert status != 0
    said = error.replace("\r", "\n").partition(MESSAGE.splitlines()[0])
    assert said[1]
    assert len([line for line in said[2].splitlines() if line]) == 1, error
    assert "WHAT THERE IS" not in out
