"""Cells that a batch has finished before it failed."""

import json
from pathlib import Path

import pytest

from clce_bench.execution.finished_cells import VARIABLE, forget, keep, keep_all, restore

NAMES = ("history.csv", "model.safetensors", "embeddings.npz", "cell.json")


@pytest.fixture
def cell(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    keep_all()
    folder = Path("cell")
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(json.dumps({"job": {"spec": 1}}))
    keep(folder)
    for name in NAMES:
        (folder / name).unlink()
    return folder


def test_the_same_job_finds_its_files_again(cell):
    assert restore({"spec": 1}, cell)
    assert {name: (cell / name).exists() for name in NAMES} == dict.fromkeys(NAMES, True)
    assert restore({"spec": 1}, cell)  # As often as it fails.


def test_another_job_does_not(cell):
    assert not restore({"spec": 2}, cell)
    assert not (cell / "cell.json").exists()


def test_links_are_for_jobs_of_a_cluster_only(cell, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    assert not restore({"spec": 1}, cell)
    other = Path("other")
    other.mkdir()
    keep(other)
    assert list(other.iterdir()) == []


def test_when_all_has_ended_well_they_are_gone(cell):
    restore({"spec": 1}, cell)
    forget([cell, Path("never trained")])
    assert {path.name for path in cell.iterdir()} == set(NAMES)


def test_a_file_system_without_hard_links_costs_the_links_only(cell, monkeypatch, caplog):
    restore({"spec": 1}, cell)
    forget([cell])

    def refuse(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    keep(cell)
    assert "no hard links here" in caplog.text
    assert not restore({"spec": 1}, cell)
    assert {path.name for path in cell.iterdir() if path.is_file()} == set(NAMES)
