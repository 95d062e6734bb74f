"""The real DAG, on a miniature experiment in a folder of its own."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from clce_bench.cli import command_status
from clce_bench.files import read_json
from tests.helpers.interpreters import python
from tests.helpers.miniature import BROKEN, ROOT, both, dry_run, jobs_of, planned, snakemake


@pytest.fixture(scope="module")
def ran(finished, tmp_path_factory):
    return shutil.copytree(finished, tmp_path_factory.mktemp("miniature") / "folder")


def test_one_command_gives_figures_tables_report_and_store(ran):
    folder = ran
    results = folder / "results" / "experiments" / "miniature"
    summary = pd.read_parquet(results / "summary.parquet")
    assert len(summary) == 8
    assert pd.read_csv(results / "summary.csv")["cell"].tolist() == summary["cell"].tolist()
    done_cells = summary[summary["loss"] != "broken_loss:Broken"]
    assert set(done_cells["status"]) == {"done"}
    classification = done_cells[done_cells["dataset"] == "digits"]
    assert classification["metric.probe_top1"].between(0.3, 1).all()
    assert (classification["metric.top1"].isna() == (classification["lambda"] == 1)).all()
    few_shot = done_cells[done_cells["dataset"] == "openmoji-fs"].iloc[0]
    assert 0.2 < few_shot["metric.fewshot_5way_1shot"] < few_shot["metric.fewshot_5way_5shot"] < 1
    assert (results / "figures" / "lambda_curve-losses.png").stat().st_size > 10_000
    assert ">Differences to cross-entropy</h2>" in (results / "report.html").read_text()
    assert read_json(results / "tracked.json")["written"] == 8
    assert (folder / "results/mlflow/mlflow.db").exists()
    printed = (results / "headline.txt").read_text()
    for text in ("CLCE", "wall time =", "Report: results/experiments/miniature/report.html"):
        assert text in printed


def test_a_diverged_loss_does_not_stop_the_run(ran):
    folder = ran
    summary = pd.read_parquet(folder / "results/experiments/miniature/summary.parquet")
    broken = summary[summary["loss"] == "broken_loss:Broken"].iloc[0]
    assert broken["status"] == "diverged"
    assert broken["reason"] == "the loss was nan in epoch 1, step 1"
    assert "1 diverged" in (folder / "results/experiments/miniature/report.html").read_text()


def test_a_second_run_has_nothing_to_do(ran):
    folder = ran
    again = snakemake(folder)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_papers_experiment_has_a_dag_without_data_or_gpu(tmp_path):
    dry = snakemake(tmp_path, "-n", experiment=str(ROOT / "experiments" / "tcl.yaml"))
    assert dry.returncode == 0, dry.stderr
    counts = jobs_of(dry.stdout + dry.stderr)
    assert (counts["train"], counts["evaluate"]) == (273, 273)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda e: e["grids"][0]["seed"].append(2), {"train": 3, "evaluate": 3}),
        (lambda e: e["losses"].update(clce={"temperature": 0.7}), {"train": 4, "evaluate": 4}),
        (lambda e: e["datasets"]["openmoji-fs"]["episodes"].update(count=30), {"episodes": 1, "evaluate": 2}),
        (lambda e: e.update(description="Other words."), {}),
        (lambda e: e["grids"].reverse(), {}),
    ],
    ids=["a seed", "a temperature", "the episodes", "the description", "the order"],
)
def test_a_change_reruns_what_it_concerns(ran, change, expected):
    folder = ran
    text = (folder / "miniature.yaml").read_text()
    experiment = yaml.safe_load(text)
    change(experiment)
    saved = (folder / "results/experiments/miniature/experiment.json").read_text()
    (folder / "miniature.yaml").write_text(yaml.safe_dump(experiment))
    counts = Counter(rule for rule, _ in planned(folder))
    (folder / "miniature.yaml").write_text(text)
    stages = ("dataset", "splits", "episodes", "backbone", "features", "train", "evaluate")
    assert {stage: counts[stage] for stage in stages if stage in counts} == expected
    (folder / "results/experiments/miniature/experiment.json").write_text(saved)


def test_the_command_of_a_job_works_by_hand(ran, tmp_path, monkeypatch):
    folder = ran
    cell = next((folder / "results/cells/digits").rglob("cell.json")).parent
    monkeypatch.chdir(folder)
    assert command_status(["train", "--job", str(cell / "cell.json"), "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/model.safetensors").read_bytes() == (cell / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "again/cell.json").read_text())["job"] == read_json(cell / "cell.json")["job"]


def test_a_failing_loss_is_explained_and_runs_again_when_mended(ran):
    folder = ran
    experiment = yaml.safe_load((folder / "miniature.yaml").read_text())
    experiment |= {"name": "failing", "figures": []}
    experiment["grids"] = [{"name": "losses", "dataset": "digits", "loss": ["ce", "failing_loss:Failing"], "seed": 0}]
    (folder / "failing.yaml").write_text(yaml.safe_dump(experiment))
    mended = BROKEN.replace("Broken", "Failing")
    (folder / "failing_loss.py").write_text(mended.replace("return", "raise ValueError  #"))
    failed = snakemake(folder, experiment="failing.yaml")
    assert failed.returncode == 1
    assert "ValueError" in failed.stderr
    results = folder / "results/experiments/failing"
    assert set(pd.read_csv(results / "partial/summary.csv")["status"]) == {"done", "failed"}
    assert "Not all cells are done" in (results / "partial/report.html").read_text()
    (folder / "failing_loss.py").write_text(mended)
    jobs = dry_run(folder, experiment="failing.yaml")
    (cell,) = (key for rule, key in jobs if rule == "train")
    assert "failing.loss" in cell
    assert jobs == {*both([cell]), *((rule, "failing") for rule in ("summarize", "report", "track"))}


def test_a_batch_above_the_data_fails_before_anything_runs(tmp_path):
    (tmp_path / "big.yaml").write_text("name: big\ngrids: [{name: a, dataset: digits, loss: ce, batch_size: 2000}]\n")
    done = snakemake(tmp_path, experiment="big.yaml")
    assert done.returncode == 2
    assert "batch_size: 2000 is not allowed. Allowed: at most 1076" in done.stderr
    assert not (tmp_path / "results").exists()


def test_snakemakes_own_report_can_be_made(ran):
    folder = ran
    done = snakemake(folder, "--report", "snakemake.html")
    assert done.returncode == 0, done.stderr
    page = (folder / "snakemake.html").read_text()
    assert '"figure": "lambda curve", "grid": "losses"' in page
    assert "cross-entropy (CE), paired over seeds, with 95 % intervals" in page
    assert "ERROR" not in done.stderr


def test_lint_finds_nothing():
    command = [str(Path(sys.executable).with_name("snakemake")), "--lint"]
    found = python(*command, cwd=ROOT)
    assert "Congratulations, your workflow is in a good condition!" in found.stderr
