"""What ``measure`` writes for a cell, and how summaries and comparisons read it."""

import json

import numpy as np
import pytest

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.summary import summary_table
from clce_bench.cli import command_status
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import read_json, write_json
from clce_bench.measures.measure import measure_cell
from clce_bench.planning.plan import plan_of
from clce_bench.planning.reruns import reruns_of
from clce_bench.records.job_records import recorded
from tests.evaluation.test_evaluate_stage import write_cell
from tests.helpers.made_up import EXPERIMENT, change_record, make_up

JOB = {"spec": {"measure": "neighbours"}, "inputs": {name: f"{name}.json" for name in ("cell", "dataset", "splits")}}


def measure(folder):
    job = {**JOB, "inputs": {name: str(folder / path) for name, path in JOB["inputs"].items()}, "code": "c"}
    measure_cell(job, folder / "measure-neighbours.json")
    return read_json(folder / "measure-neighbours.json")


def test_files_of_a_measure(tmp_path):
    write_cell(tmp_path)
    found = measure(tmp_path)
    assert found["metrics"].keys() == {"knn_top1", "recall_at_1", "map_at_r"}
    with np.load(tmp_path / "measure-neighbours.npz") as arrays:
        for name, value in found["metrics"].items():
            assert arrays[f"outcome.{name}"].mean() == pytest.approx(value, abs=1e-6)


def test_collapsed_features_are_no_measure(tmp_path):
    write_cell(tmp_path, spoil=lambda arrays: arrays["features"].fill(np.inf))
    assert measure(tmp_path)["absent"].keys() == {"neighbours"}


def test_a_diverged_cell_has_no_metrics(tmp_path):
    write_cell(tmp_path)
    write_json(tmp_path / "cell.json", {**read_json(tmp_path / "cell.json"), "status": "diverged"})
    assert measure(tmp_path)["metrics"] == {}


def test_embeddings_must_be_those_of_the_cell(tmp_path, monkeypatch, capsys):
    write_cell(tmp_path)
    monkeypatch.chdir(tmp_path)
    np.savez("embeddings.npz", rows=np.arange(3))
    assert command_status(["measure", "--job", json.dumps(JOB), "--output", "measure-neighbours.json"]) == 2
    assert "not what training wrote" in capsys.readouterr().err


def test_asking_for_measures_changes_no_other_job():
    plain = plan_of(parse_experiment(EXPERIMENT, "plain.yaml"))
    grids = [{**grid, "measures": ["neighbours", "outliers:openmoji"]} for grid in EXPERIMENT["grids"]]
    asked = plan_of(parse_experiment({**EXPERIMENT, "grids": grids}, "asked.yaml"))
    for verb in ("train", "evaluate", "splits"):
        assert {key: job.param for key, job in asked.jobs[verb].items()} == {
            key: job.param for key, job in plain.jobs[verb].items()
        }
    assert not plain.jobs["measure"]
    assert len(asked.jobs["measure"]) == 2 * len(asked.cells)
    assert asked.jobs["dataset"].keys() - plain.jobs["dataset"].keys() == {"openmoji-64px"}


def test_summary_and_comparisons_have_the_metrics(tmp_path, monkeypatch):
    """Those of a cell that was trained again meanwhile are none of it."""
    monkeypatch.chdir(tmp_path)
    main = {**EXPERIMENT["grids"][0], "loss": ["ce", "clce"], "measures": "neighbours"}
    _, plan = make_up(grids=[main], figures=[])
    rng = np.random.default_rng(0)
    values = {cell.name: rng.random(20) + 0.5 * cell.contrastive_weight for cell in plan.cells}
    for cell in plan.cells:
        job = plan.jobs["measure"][f"{cell.key}/measure-neighbours"]
        output = tmp_path / job.output
        with recorded("measure", {**job.definition, "inputs": {"cell": job.inputs["cell"]}}, output, ["measure-*"]):
            own = values[cell.name]
            np.savez(output.with_suffix(".npz"), **{"outcome.map_at_r": own, "unit.map_at_r": np.arange(20)})
            started = "2026-01-01T00:00:04.000+00:00"
            write_json(output, {"metrics": {"map_at_r": own.mean()}, "absent": {}, "started": started, "seconds": 1})
    table = compare(summary_table(plan), "metric.map_at_r").set_index("loss")
    means = {
        loss: 100 * np.mean([values[cell.name] for cell in plan.cells if cell.loss_name == loss])
        for loss in table.index
    }
    assert table["mean"].to_dict() == pytest.approx(means)
    assert table.loc["clce", "difference"] == pytest.approx(means["clce"] - means["ce"])
    assert table["units"].tolist() == [20, 20]
    change_record(plan.cells[0], outputs_sha256={"model.safetensors": "2" * 64})
    changed = summary_table(plan).set_index("cell")["metric.map_at_r"].isna()
    assert changed[changed].index.tolist() == [plan.cells[0].name]
    assert plan.nodes_of(plan.cells[0])[-1] in reruns_of(plan).runs
