"""What ``evaluate`` writes for a cell whose embeddings are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, log_loss, silhouette_score, top_k_accuracy_score

from clce_bench.evaluation import evaluate, known_classes
from clce_bench.evaluation.evaluate import evaluate_cell
from clce_bench.evaluation.fewshot import logistic_regression, nearest_centroid
from clce_bench.evaluation.probe import INVERSE_STRENGTHS, linear_probe
from clce_bench.files import read_json, sha256_of, write_json
from tests.evaluation.test_fewshot import draw

CLASSES, EACH, SIZE = 8, 20, 12
SPEC = {"split": {"fold": 0}, "dataset": "digits", "backbone": {"name": "resnet18", "weights": "random"}}


def write_cell(folder, logits=True, episodes=False, spoil=None):
    """A data set of 160 images, half of them for training; embeddings are stored for all but the first."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    part = np.tile(np.repeat(["train-pool", "test"], EACH // 2), CLASSES)
    names = np.array([f"class {label}" for label in labels])
    groups = [f"group {row // 2}" for row in range(len(labels))]
    items = pd.DataFrame({"id": np.arange(len(labels)), "label": labels, "class": names, "group": groups})
    items.to_parquet(folder / "items.parquet")
    fold = np.where(part == "train-pool", np.arange(len(labels)) % 2, -1)
    tests = np.where(part == "test", 0, -1)
    pd.DataFrame({"part": part, "fold": fold, "test_fold": tests}).to_parquet(folder / "splits.parquet")
    rows = np.arange(1, len(labels))
    features = rng.normal(size=(len(rows), SIZE)) + 1.5 * rng.normal(size=(CLASSES, SIZE))[labels[rows]]
    arrays = {"rows": rows, "features": features.astype("float16")}
    if logits:
        arrays["logits"] = (2 * np.eye(CLASSES)[labels[rows]] + rng.normal(size=(len(rows), CLASSES))).astype("float32")
    inputs = {"cell": "cell.json", "dataset": "dataset.json", "splits": "splits.json"}
    test = np.flatnonzero(part == "test")
    if episodes:
        support = rng.normal(size=(5, len(test), SIZE)) * 2 + features[test - 1]
        arrays |= {"support_rows": test, "support": support.astype("float16")}
        drawn = draw(rng, np.where(part == "test", labels, -1)[test], 30, 3, 2)
        drawn = [test[rows] for rows in drawn]
        np.savez(folder / "episodes.npz", support_2=drawn[0], query_2=drawn[1])
        inputs["episodes"] = "episodes.json"
    if spoil:
        spoil(arrays)
    np.savez(folder / "embeddings.npz", **arrays)
    record = {"status": "done", "job": {"spec": SPEC}}
    record["outputs_sha256"] = {"embeddings.npz": sha256_of(folder / "embeddings.npz")}
    for name, value in {"cell": record, "dataset": {}, "splits": {}, "episodes": {}}.items():
        write_json(folder / f"{name}.json", value)
    evaluate_cell({"inputs": {k: str(folder / v) for k, v in inputs.items()}, "code": "c"}, folder / "metrics.json")
    with np.load(folder / "metrics.npz") as stored:
        return read_json(folder / "metrics.json")["metrics"], dict(stored), arrays, labels, test


def test_classification(tmp_path):
    metrics, arrays, given, labels, test = write_cell(tmp_path)
    scores, truth = given["logits"][test - 1], labels[test]
    assert metrics["top1"] == pytest.approx((scores.argmax(axis=1) == truth).mean())
    assert metrics["top5"] == pytest.approx(top_k_accuracy_score(truth, scores, k=5))
    assert 0 < metrics["ece"] < 1
    for name in ("top1", "top5", "probe_top1", "ncm_top1", "nll", "nll_scaled"):
        assert arrays[f"outcome.{name}"].mean() == pytest.approx(metrics[name])
        assert len(arrays[f"outcome.{name}"]) == len(arrays[f"unit.{name}"]) == len(test)
        assert len(np.unique(arrays[f"unit.{name}"])) == len(test) // 2
    assert arrays["test_rows"].tolist() == test.tolist()
    assert arrays["classes"].tolist() == [f"class {label}" for label in range(CLASSES)]
    assert metrics["balanced_top1"] == pytest.approx(balanced_accuracy_score(truth, scores.argmax(axis=1)))
    for name in ("balanced_top1", "balanced_probe_top1", "balanced_ncm_top1"):
        assert len(arrays[f"outcome.{name}"]) == len(np.unique(arrays[f"unit.{name}"])) == CLASSES
        assert arrays[f"outcome.{name}"].mean() == pytest.approx(metrics[name])
    assert metrics["nll"] == pytest.approx(log_loss(truth, softmax(scores, axis=1)), abs=1e-5)
    scaled = softmax(scores / metrics["temperature"], axis=1)
    assert metrics["nll_scaled"] == pytest.approx(log_loss(truth, scaled), abs=1e-5)
    # Row 0 of the data set, which validates, is not stored: images count by their row.
    part = pd.read_parquet(tmp_path / "splits.parquet")
    rows = np.flatnonzero((part["part"] == "train-pool") & (part["fold"] == 1))
    assert metrics["train_top1"] == pytest.approx((given["logits"][rows - 1].argmax(1) == labels[rows]).mean())
    assert read_json(tmp_path / "metrics.json")["probe"]["C"] in INVERSE_STRENGTHS
    assert read_json(tmp_path / "metrics.json")["absent"] == {}
    own = scores.argmax(axis=1) == truth
    np.testing.assert_allclose(arrays["class_top1"], [own[truth == label].mean() for label in range(CLASSES)])
    assert metrics["silhouette"] == pytest.approx(
        silhouette_score(given["features"][test - 1].astype(float), truth, metric="cosine"), abs=1e-4
    )
    assert arrays["cosine_positive"].sum() == CLASSES * 10 * 9
    assert arrays["cosine_negative"].sum() == 80 * 70
    assert arrays["cosine_positive"].shape == (CLASSES, len(arrays["cosine_edges"]) - 1)
    centres = (arrays["cosine_edges"][1:] + arrays["cosine_edges"][:-1]) / 2
    mean = (arrays["cosine_positive"].sum(axis=0) * centres).sum() / arrays["cosine_positive"].sum()
    assert mean == pytest.approx(metrics["cosine_positive"], abs=0.01)
    assert metrics["alignment"] == pytest.approx(2 - 2 * metrics["cosine_positive"], abs=1e-6)


def test_without_a_classifier_only_features_are_measured(tmp_path):
    metrics, arrays, given, labels, test = write_cell(tmp_path, logits=False)
    assert {"top1", "top5", "ece", "nll", "train_top1", "balanced_top1"}.isdisjoint(metrics)
    features = given["features"][test - 1].astype("float32")
    predicted = arrays["probe_labels"][(features @ arrays["probe_weights"] + arrays["probe_biases"]).argmax(axis=1)]
    np.testing.assert_array_equal(predicted == labels[test], arrays["outcome.probe_top1"])
    assert metrics["probe_top1"] > 0.5
    assert metrics["ncm_top1"] > 0.5
    assert "class_ncm_top1" in arrays


def test_few_shot_uses_augmented_support_and_clean_queries(tmp_path):
    metrics, arrays, given, _, test = write_cell(tmp_path, episodes=True)
    features, support = given["features"].astype("float32")[test - 1], given["support"].astype("float32")
    drawn = np.load(tmp_path / "episodes.npz")
    places = type(draw(np.random.default_rng(0), np.repeat([0, 1], 9), 1, 2, 1))(
        *(np.searchsorted(test, drawn[f"{kind}_2"]) for kind in ("support", "query"))
    )
    for name, classify in {"": nearest_centroid, "_logistic": logistic_regression}.items():
        by_class = classify(features, places, support)
        expected = by_class.mean(axis=1)
        hits, ways = (arrays[f"{kind}.fewshot_3way_2shot{name}"] for kind in ("hits", "ways"))
        np.testing.assert_allclose(hits / drawn["query_2"].shape[2], by_class, atol=1e-6)
        numbers = pd.read_parquet(tmp_path / "items.parquet")["class"].rank(method="dense").to_numpy() - 1
        np.testing.assert_array_equal(ways[:, :, None] + 0 * drawn["query_2"], numbers[drawn["query_2"]])
        assert metrics[f"fewshot_3way_2shot{name}"] == pytest.approx(expected.mean())
        assert metrics[f"fewshot_3way_2shot{name}_episode_std"] == pytest.approx(expected.std(ddof=1))
        np.testing.assert_allclose(arrays[f"outcome.fewshot_3way_2shot{name}"], expected, atol=1e-6)
    assert not np.allclose(nearest_centroid(features, places), nearest_centroid(features, places, support))
    assert "probe_top1" not in metrics


def test_geometry_of_many_images_looks_at_the_same_part_for_all_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "GEOMETRY_IMAGES", 12)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, arrays, *_ = write_cell(tmp_path / "a")
    again, *_ = write_cell(tmp_path / "b", logits=False)
    assert arrays["cosine_positive"].sum() + arrays["cosine_negative"].sum() == 12 * 11
    assert len(arrays["cosine_positive"]) == len(arrays["classes"])
    assert first["alignment"] == pytest.approx(again["alignment"])


def test_the_probe_of_many_images_is_fitted_to_the_same_part_for_all_cells(tmp_path, monkeypatch):
    fitted = []

    def probe(features, labels, groups):
        fitted.append(features)
        return linear_probe(features, labels, groups)

    monkeypatch.setattr(known_classes, "linear_probe", probe)
    for most in (1000, 12, 12):
        monkeypatch.setattr(known_classes, "PROBE_IMAGES", most)
        folder = tmp_path / str(len(fitted))
        folder.mkdir()
        write_cell(folder)
    every, part, again = fitted
    assert len(every) > len(part) == len(np.unique(part, axis=0)) == 12
    assert set(map(bytes, part)) < set(map(bytes, every))
    np.testing.assert_array_equal(part, again)


def test_a_diverged_cell_has_no_metrics(tmp_path):
    write_json(tmp_path / "cell.json", {"status": "diverged", "outputs_sha256": {"model": "x"}, "job": {"spec": SPEC}})
    evaluate_cell({"inputs": {"cell": str(tmp_path / "cell.json")}, "code": "c"}, tmp_path / "metrics.json")
    assert read_json(tmp_path / "metrics.json")["metrics"] == {}
    with np.load(tmp_path / "metrics.npz") as arrays:
        assert arrays.files == []


def constant(arrays):
    arrays["features"][:] = 1


def zero(arrays):
    arrays["features"][:] = 0


def overflowing(arrays):
    arrays["features"][3, 2] = np.inf


def undefined(arrays):
    arrays["features"][:] = np.nan


def unlikely(arrays):
    arrays["logits"][::5] = np.nan


@pytest.mark.parametrize("spoil", [constant, zero, overflowing, undefined, unlikely])
def test_what_cannot_be_measured_is_absent_and_says_why(tmp_path, spoil):
    metrics, *_ = write_cell(tmp_path, spoil=spoil)
    absent = read_json(tmp_path / "metrics.json")["absent"]
    assert all(np.isfinite(value) for value in metrics.values())
    assert absent
    assert set(absent).isdisjoint(metrics)
    assert all("collapsed or overflowed" in reason for reason in absent.values())
    if spoil in (constant, zero):
        assert "isoscore" in absent
        assert metrics["probe_top1"] == pytest.approx(1 / CLASSES)
    elif spoil is unlikely:
        assert {"top1", "nll", "ece"} <= set(absent)
        assert metrics["probe_top1"] > 0.5
    else:
        assert metrics == {}


@pytest.mark.parametrize("spoil", [zero, overflowing])
def test_few_shot_on_spoilt_features_ends_too(tmp_path, spoil):
    metrics, *_ = write_cell(tmp_path, episodes=True, spoil=spoil)
    assert all(np.isfinite(value) for value in metrics.values())
    assert read_json(tmp_path / "metrics.json")["absent"]
