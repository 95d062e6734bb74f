import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from clce_bench.analysis.comparisons import compare, grid_rows, metrics_of
from clce_bench.analysis.summary import summary_table, write_summary
from clce_bench.evaluation.probe import INVERSE_STRENGTHS, linear_probe
from clce_bench.figures.render import render
from clce_bench.files import read_json, write_json
from clce_bench.report.headline import table_rows
from tests.helpers.made_up import change_record, make_up


def test_probe_takes_the_strength_that_validation_prefers():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 300)
    features = (rng.normal(size=(300, 20)) + 0.8 * np.eye(20)[labels]).astype("float32")
    train, validation = np.arange(150), np.arange(150, 220)
    probe = linear_probe(features, labels, train, validation)
    scaler = StandardScaler().fit(features[train])
    scores = []
    for strength in INVERSE_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000).fit(scaler.transform(features[train]), labels[train])
        scores.append(model.score(scaler.transform(features[validation]), labels[validation]))
    assert probe.score(features[validation], labels[validation]) == pytest.approx(max(scores), abs=0.02)
    assert probe[-1].C in INVERSE_STRENGTHS


def test_summary_and_comparison_pair_seeds():
    _, plan = make_up()
    summary = summary_table(plan)
    assert len(summary) == len(plan.cells)
    assert set(summary["status"]) == {"done"}
    main = grid_rows(summary, "main")
    assert metrics_of(main) == ["metric.top1", "metric.probe_top1"]
    table = compare(main, "metric.top1").set_index("loss")
    assert list(table.index) == ["ce", "clce", "tcl"]
    by_seed = main.pivot(index="seed", columns="loss", values="metric.top1") * 100
    reference = stats.ttest_rel(by_seed["clce"], by_seed["ce"]).confidence_interval(0.95)
    assert table.loc["clce", "mean"] == pytest.approx(by_seed["clce"].mean())
    assert (table.loc["clce", "difference_low"], table.loc["clce", "difference_high"]) == pytest.approx(reference)
    assert np.isnan(table.loc["ce", "difference"])
    # Seeds differ by a point, the losses by a constant: pairing must make the interval much narrower.
    paired = table.loc["clce", "difference_high"] - table.loc["clce", "difference_low"]
    assert paired < 0.3 * (table.loc["clce", "high"] - table.loc["clce", "low"])


def test_images_per_class_are_never_averaged_over():
    grid = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1], "images_per_class": [20, 100]}
    whole = {"name": "whole", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}
    figures = [{"kind": kind, "grid": "main"} for kind in ("differences", "training_curve")]
    experiment, plan = make_up(grids=[grid, whole], figures=figures)
    summary = summary_table(plan)
    assert summary["images_per_class"].fillna(0).value_counts().to_dict() == {20: 4, 100: 4, 0: 4}
    for rows, settings in ((grid_rows(summary, "main"), 4), (summary, 6)):
        table = compare(rows, "metric.top1")
        assert (table["n"] == 2).all()
        assert len(table) == settings
        assert (table[table["loss"] == "clce"]["pairs"] == 2).all()
    few = summary[(summary["images_per_class"] == 20) & (summary["loss"] == "ce")]["metric.top1"]
    assert compare(summary, "metric.top1")["mean"].iloc[0] == pytest.approx(100 * few.mean())
    texts = table_rows(compare(summary, "metric.top1"), "metric.top1")
    assert [row["data set"] for row in texts[::2]] == ["digits, 20 per class", "digits, 100 per class", "digits"]
    write_summary(experiment, plan.folder)
    for figure in plan.jobs["figures"].values():
        render({"spec": figure.spec, "inputs": figure.inputs}, plan.folder / "figure.svg")
        drawn = (plan.folder / "figure.svg").read_text()
        assert "digits, 20 per class" in drawn
        assert "digits, 100 per class" in drawn


def test_cells_without_a_result_are_left_out_and_said():
    _, plan = make_up()
    main = plan.grids["main"]
    missing, diverged, stale = (
        next(c for c in main if (c.loss.name, c.seed) == key) for key in (("clce", 1), ("tcl", 2), ("ce", 0))
    )
    (missing.directory / "cell.json").unlink()
    (missing.directory / "metrics.json").unlink()
    (missing.directory / "failure.txt").write_text("RuntimeError: no memory\n")
    change_record(diverged, status="diverged", reason="the loss was nan in epoch 1, step 2")
    empty = read_json(diverged.directory / "metrics.json") | {"metrics": {}, "seconds": 0}
    write_json(diverged.directory / "metrics.json", empty)
    change_record(stale, job={"spec": {}, "inputs": {}, "code": "old"})
    summary = summary_table(plan).set_index("cell")
    assert summary.loc[missing.name, ["status", "reason"]].tolist() == ["failed", "RuntimeError: no memory"]
    assert summary.loc[diverged.name, "status"] == "diverged"
    assert summary.loc[stale.name, "status"] == "stale"
    assert "the code of train changed since 2026-01-01" in summary.loc[stale.name, "reason"]
    table = compare(grid_rows(summary.reset_index(), "main"), "metric.top1").set_index("loss")
    assert table.loc["clce", ["n", "pairs"]].tolist() == [2, 2]
    assert table.loc["tcl", ["n", "diverged"]].tolist() == [2, 1]


def test_an_evaluation_of_other_weights_does_not_count():
    _, plan = make_up()
    cell = plan.grids["main"][0]
    change_record(cell, outputs_sha256={"model.safetensors": "2" * 64})
    row = summary_table(plan).set_index("cell").loc[cell.name]
    assert (row["status"], row["reason"]) == ("missing", "trained, not evaluated yet")
    assert np.isnan(row["metric.top1"])


def test_a_sweep_of_the_baseline_gives_no_difference():
    rows = pd.DataFrame(
        {
            "dataset": "d",
            "backbone": "b",
            "cell": ["a", "b", "c"],
            "directory": "nowhere",
            "split_seed": 0,
            "test_to_train": 0.4,
            "images_per_class": np.nan,
            "batch_size": 8,
            "loss": ["ce", "ce", "tcl"],
            "lambda": [0, 0, 0.9],
            "overlap": "no",
            "hazards": "",
            "recipe.learning_rate": [0.1, 0.2, 0.1],
            "seed": 0,
            "fold": 0,
            "status": "done",
            "metric.top1": [0.5, 0.6, 0.7],
        }
    )
    table = compare(rows, "metric.top1")
    assert table["recipe.learning_rate"].tolist() == [0.1, 0.2, 0.1]
    assert table["difference"].isna().all()
