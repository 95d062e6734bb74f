"""The journal of a training run."""

import json
from pathlib import Path

from clce_bench.training import progress
from clce_bench.training.progress import Progress


def test_the_journal_has_a_whole_line_per_epoch_and_in_between(monkeypatch):
    journal = Path("checkpoints/progress.jsonl")
    with Progress("cell", 20, 0, 8, journal) as shown:
        for step in range(1, 21):
            monkeypatch.setattr(progress, "SECONDS", 0.0 if step == 7 else 30.0)
            shown.advance(1 / step)
            if step % 10 == 0:
                shown.line(step // 10, 2, 1 / step, 0.5 + step / 100)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["step"] for line in lines] == [7, 10, 20]
    assert "epoch" not in lines[0]
    assert (lines[1]["epoch"], lines[1]["epochs"], lines[1]["validation"]) == (1, 2, 0.6)
    assert lines[1]["seconds_left"] >= 0 == lines[2]["seconds_left"]


def test_a_disk_that_takes_nothing_ends_no_training():
    Path("checkpoints").write_text("no folder")
    with Progress("cell", 2, 0, 8, Path("checkpoints/progress.jsonl")) as shown:
        shown.advance(1.0)
        assert "epoch 1/2" in shown.line(1, 2, 1.0, 0.5)
