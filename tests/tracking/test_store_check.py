"""Stores that cannot be written are found before training, with one message."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db.utils import _get_latest_schema_revision

from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.tracking import store_check
from clce_bench.tracking.store_check import check_store

STORE = Path("mlflow.db")
URI = f"sqlite:///{STORE}"


def store(version):
    with closing(sqlite3.connect(STORE)) as made:
        made.executescript(
            "CREATE TABLE experiments (x); CREATE TABLE runs (x); CREATE TABLE alembic_version (version_num)"
        )
        made.execute("INSERT INTO alembic_version VALUES (?)", (version,))
        made.commit()


def newest():
    known = store_check._revisions()
    (head,) = known.keys() - set(known.values())
    return head


def test_the_newest_version_is_the_one_that_mlflow_itself_gives():
    assert newest() == _get_latest_schema_revision()


def test_no_store_and_a_good_one_are_fine():
    check_store(URI)
    store(newest())
    check_store(URI)
    check_store("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"garbage" * 200, "no MLflow store"), (b"", "half-made"), (b"SQLite format 3\0" + b"\1" * 90, "no MLflow store")],
)
def test_what_is_no_store_says_what_to_do(content, message):
    STORE.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        check_store(URI)
    assert "clce-bench track" in str(caught.value)


def test_a_half_made_store_is_one():
    with closing(sqlite3.connect(STORE)) as made:
        made.execute("CREATE TABLE experiments (x)")
    with pytest.raises(UserError, match="half-made"):
        check_store(URI)


def test_older_and_newer_stores_are_told_apart():
    store("0123456789ab")
    with pytest.raises(UserError, match="newer"):
        check_store(URI)
    STORE.unlink()
    store(store_check._revisions()[newest()])
    with pytest.raises(UserError, match="older.*mlflow db upgrade"):
        check_store(URI)


def test_a_locked_store_and_a_folder_are_told(monkeypatch):
    monkeypatch.setattr(store_check, "WAIT", 0.1)
    store(newest())
    with closing(sqlite3.connect(STORE)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="another process writes"):
            check_store(URI)
    with pytest.raises(UserError, match="this is a folder"):
        check_store("sqlite:///.")


@pytest.mark.parametrize(
    ("place", "message"),
    [("file/mlflow.db", "file is no folder"), (f"{'x' * 300}/mlflow.db", "File name too long"), ("a/b/mlflow.db", "")],
)
def test_a_place_where_no_store_can_be_made_is_told(place, message):
    Path("file").touch()
    if not message:
        check_store(f"sqlite:///{place}")
        return
    with pytest.raises(UserError, match=message):
        check_store(f"sqlite:///{place}")


def test_a_folder_that_may_not_be_written_is_told(monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UserError, match=f"this user may not write to {Path.cwd()}"):
        check_store(URI)


def test_plan_finds_it_before_training(capsys):
    Path("results/mlflow").mkdir(parents=True)
    Path("results/mlflow/mlflow.db").write_text("garbage " * 100)
    Path("mine.yaml").write_text(
        "name: mine\ndescription: d\ngrids: [{name: a, dataset: digits, loss: ce, seed: 0}]\nfigures: []\n"
        "tracking: {uri: sqlite:///results/mlflow/mlflow.db}\n"
    )
    assert command_status(["plan", "--no-cost", "--experiment", "mine.yaml"]) == 2
    assert capsys.readouterr().err.count("error:") == 1
