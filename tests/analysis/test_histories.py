"""The table of all epochs of all cells."""

from types import SimpleNamespace

import pandas as pd

from clce_bench.analysis.summary import _histories

FILES = {
    "two-epochs": b"epoch,time,validation\n1,2026-01-01T00:00:00+00:00,0.5\n2,2026-01-01T00:00:01+00:00,0.1234567890\n",
    "without-validation": b"epoch,time,validation\n1,2026-01-01T00:00:02+00:00,\n",
    "another-column": b"epoch,time,validation,positives\n1,2026-01-01T00:00:03+00:00,1,0.25\n",
    "again": b"epoch,time,validation\n1,2026-01-01T00:00:04+00:00,0.75\n",
}
DAMAGED = {"no-epoch": b"epoch,time,validation,loss\n", "empty": b"", "no-text": b"\xff\xfe"}


def cells(folder, files):
    for name, content in files.items():
        (folder / name).mkdir()
        (folder / name / "history.csv").write_bytes(content)
    return [SimpleNamespace(name=name, directory=folder / name) for name in (*files, "not-there")]


def test_histories_are_those_that_pandas_reads_one_by_one(tmp_path):
    found = _histories(cells(tmp_path, {**DAMAGED, **FILES}))
    expected = pd.concat([pd.read_csv(tmp_path / name / "history.csv").assign(cell=name) for name in FILES])
    columns = ["epoch", "time", "validation", "positives", "cell"]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected[columns].reset_index(drop=True))


def test_without_any_history_there_is_an_empty_table(tmp_path):
    assert _histories(cells(tmp_path, {})).empty
