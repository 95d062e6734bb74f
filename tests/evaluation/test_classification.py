import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.summary import summary_table, write_summary
from clce_bench.analysis.summary_rows import grid_rows, metrics_of
from clce_bench.evaluation.classification import calibration_error, fit_temperature, in_top, log_losses
from clce_bench.evaluation.probe import INVERSE_STRENGTHS, linear_probe
from clce_bench.figures.render import render
from clce_bench.files import read_json, write_json
from clce_bench.report.headline import table_rows
from tests.helpers.made_up import change_record, make_up


def made_up_features(count, classes, size=20, signal=0.8):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, count)
    features = rng.normal(size=(count, size)) + signal * np.eye(size)[labels]
    return (features * np.linspace(0.5, 5, size) + 3).astype("float32"), labels


@pytest.mark.parametrize("classes", [2, 5])
def test_probe_is_scikit_learns_at_the_strength_that_cross_validation_prefers(classes):
    features, labels = made_up_features(300, classes)
    groups = np.array([f"{row // 2}" for row in range(300)])
    probe = linear_probe(features, labels, groups)
    scores = {}
    for strength in INVERSE_STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-6, max_iter=5000))
        folds = GroupKFold(3, shuffle=True, random_state=0)
        left_out = cross_val_score(model, features, labels, groups=groups, cv=folds, scoring="neg_brier_score")
        scores[strength] = left_out.mean()
    best = max(scores, key=scores.get)
    # Other folds may prefer a neighbour; not more.
    assert abs(INVERSE_STRENGTHS.index(probe.strength) - INVERSE_STRENGTHS.index(best)) <= 1
    assert INVERSE_STRENGTHS[0] < probe.strength < INVERSE_STRENGTHS[-1]
    fresh, _ = made_up_features(500, classes)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=probe.strength, tol=1e-8, max_iter=5000))
    expected = reference.fit(features, labels).predict_proba(fresh)
    np.testing.assert_allclose(softmax(probe.scores(fresh), axis=1), expected, atol=0.02)
    assert (probe.predict(fresh) == reference.predict(fresh)).mean() > 0.98


def test_a_few_images_with_features_far_out_do_not_choose_the_strength():
    # Each of ten features is far out for one image: left out, it gets a logit that is nearly certain and mostly wrong.
    features, labels = made_up_features(600, 5, signal=1.5)
    noise = np.random.default_rng(0).normal(size=(600, 10)).astype("float32")
    noise[np.arange(10), np.arange(10)] = 1000
    groups = np.arange(600)
    plain = linear_probe(features, labels, groups)
    assert linear_probe(np.hstack([features, noise]), labels, groups).strength == plain.strength == INVERSE_STRENGTHS[4]


def test_probe_never_judges_a_near_copy_of_what_it_was_fitted_to():
    # Features that tell each pair of near-copies and nothing else: seen ones would ask for no regularisation at all.
    rng = np.random.default_rng(0)
    labels, groups = np.tile([0, 1], 60).repeat(2), np.arange(120).repeat(2)
    features = rng.normal(size=(120, 200)).astype("float32").repeat(2, axis=0)
    assert linear_probe(features, labels, groups).strength <= INVERSE_STRENGTHS[1]
    assert linear_probe(features, labels, np.arange(240)).strength > INVERSE_STRENGTHS[3]


def test_probe_of_a_class_with_a_single_image_or_of_equal_features():
    features, labels = made_up_features(60, 3)
    labels[0] = 7
    probe = linear_probe(features, labels, np.arange(60))
    assert probe.labels.tolist() == [0, 1, 2, 7]
    constant = linear_probe(np.ones((60, 5), dtype="float32"), np.repeat([0, 1, 1], 20), np.arange(60))
    assert constant.predict(np.ones((2, 5), dtype="float32")).tolist() == [1, 1]


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_of_ties_is_what_a_stable_order_gives(k):
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 3, (200, 6)).astype("float32"), rng.integers(0, 6, 200)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(in_top(scores, truth, k), (order == truth[:, None]).any(axis=1))
    same = np.zeros((600, 6), dtype="float32")
    assert in_top(same, np.arange(600) % 6, k).mean() == pytest.approx(k / 6)


@pytest.mark.parametrize("row", [[np.nan, 1, 0], [1, np.nan, 0], [np.nan] * 3])
def test_nan_is_never_right(row):
    assert not in_top(np.array([row], dtype="float32"), np.array([0]), 2).any()


def test_likelihood_and_temperature_against_torch_and_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    logits = (3 * (np.eye(5)[truth] + rng.normal(size=(400, 5)))).astype("float32")
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(truth), reduction="none")
    np.testing.assert_allclose(log_losses(logits, truth), losses.numpy(), rtol=1e-4, atol=1e-5)
    grid = np.exp(np.linspace(np.log(0.5), np.log(10), 300))
    by_hand = [log_loss(truth, softmax(logits / temperature, axis=1)) for temperature in grid]
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(grid[int(np.argmin(by_hand))], rel=0.01)
    assert found > 1.5
    assert calibration_error(logits / np.float32(found), truth) < calibration_error(logits, truth)


def test_calibration_error_against_a_loop():
    rng = np.random.default_rng(2)
    truth, logits = rng.integers(0, 4, 300), rng.normal(size=(300, 4)).astype("float32")
    probabilities = softmax(logits.astype(float), axis=1)
    expected = 0.0
    for low in np.arange(15) / 15:
        confidence = probabilities.max(axis=1)
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            right = (probabilities.argmax(axis=1) == truth)[inside].mean()
            expected += inside.mean() * abs(right - confidence[inside].mean())
    assert calibration_error(logits, truth) == pytest.approx(expected)


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
            "label_noise": 0.0,
            "batch_size": 8,
            "loss": ["ce", "ce", "tcl"],
            "lambda": [0, 0, 0.9],
            "overlap": "no",
            "hazards": "",
            "recipe.learning_rate": [0.1, 0.2, 0.1],
            "seed": 0,
            "fold": 0,
            "test_fold": 0,
            "test_folds": 1,
            "class_fold": 0,
            "class_folds": 1,
            "status": "done",
            "metric.top1": [0.5, 0.6, 0.7],
        }
    )
    table = compare(rows, "metric.top1")
    assert table["recipe.learning_rate"].tolist() == [0.1, 0.2, 0.1]
    assert table["difference"].isna().all()
