"""Where a run stands, from files as a run leaves them."""

import json
import os
import time

from clce_bench.cli import command_status
from clce_bench.planning.progress_journal import JOURNAL
from clce_bench.planning.reruns import reruns_of
from clce_bench.report.watching import standing_of
from tests.helpers.made_up import make_up

GRID = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}


def begin(cell, *lines):
    (cell.directory / "cell.json").unlink(missing_ok=True)
    journal = cell.directory / JOURNAL
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("\n".join(lines))
    return journal


def test_what_trains_waits_and_failed_is_told_apart(capsys):
    _, plan = make_up(grids=[GRID], figures=[])
    _, trains, silent, broken = plan.cells
    epoch = {"step": 10, "steps": 40, "loss": 0.5, "epoch": 1, "epochs": 4, "validation": 0.75, "seconds_left": 30}
    later = {"step": 13, "steps": 40, "loss": 0.4, "seconds_left": 27.0}
    begin(trains, json.dumps(epoch), json.dumps(later), '{"step": 14, "torn')
    os.utime(begin(silent, json.dumps(epoch)), (time.time() - 3600,) * 2)
    (broken.directory / "cell.json").unlink()
    (broken.directory / "failure.txt").write_text("RuntimeError: no memory")
    standing = standing_of(reruns_of(plan))
    assert standing.failed == {broken.name: "RuntimeError: no memory"}
    (line,) = standing.running
    assert (line["cell"], line["step"], line["loss"], line["epoch"]) == (trains.name, 13, 0.4, 1)
    assert (line["validation"], line["seconds_left"]) == (0.75, 27.0)
    assert standing.cells["running"] == standing.cells["failed"] == 1
    assert 0 < standing.memory < 1
    experiment = str(plan.folder / "experiment.json")
    assert command_status(["watch", "--once", "--experiment", experiment]) == 0
    shown = capsys.readouterr().out
    assert "1 running" in shown
    assert "1 failed" in shown
    assert "75.0%" in shown
    assert "no memory" in shown
    assert command_status(["watch", "--json", "--experiment", experiment]) == 0
    assert json.loads(capsys.readouterr().out)["running"][0]["cell"] == trains.name
