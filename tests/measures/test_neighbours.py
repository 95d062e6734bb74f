"""Neighbours and retrieval against pytorch-metric-learning and scikit-learn."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.neighbors import KNeighborsClassifier

from clce_bench.evaluation.fewshot import unit_length
from clce_bench.measures import neighbours
from clce_bench.measures.neighbours import NEIGHBOURS, measure_neighbours, retrieval
from tests.measures.embedded import embedded


@pytest.mark.parametrize("alone", [0, 3])
def test_retrieval_is_that_of_pytorch_metric_learning(alone, monkeypatch):
    """Also with classes of one image, which are no queries, and classes of different sizes."""
    monkeypatch.setattr(neighbours, "CHUNK", 16)
    rng = np.random.default_rng(alone)
    labels = np.concatenate([rng.integers(0, 7, 60), 100 + np.arange(alone)])
    features = unit_length(rng.normal(size=(len(labels), 8)).astype("float32") + 0.8 * np.eye(8)[labels % 8])
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
    )
    expected = calculator.get_accuracy(torch.from_numpy(features), torch.from_numpy(labels))
    recall, precision = retrieval(features, labels, np.arange(len(labels)))
    assert np.isnan(recall).sum() == alone
    assert np.nanmean(recall) == pytest.approx(expected["precision_at_1"])
    assert np.nanmean(precision) == pytest.approx(expected["mean_average_precision_at_r"])


def test_near_copies_of_the_query_are_not_searched():
    """The copy of an image is as good as absent, for each query by itself."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 4, 30), np.arange(30) // 2
    labels = labels[groups]
    features = unit_length(rng.normal(size=(30, 5)).astype("float32"))
    recall, precision = retrieval(features, labels, groups)
    for query in range(30):
        others = np.delete(np.arange(30), query ^ 1)
        alone = retrieval(features[others], labels[others], np.arange(29))
        place = list(others).index(query)
        np.testing.assert_allclose([recall[query], precision[query]], [alone[0][place], alone[1][place]])


def test_neighbours_vote_as_in_scikit_learn(tmp_path):
    cell = embedded(tmp_path)
    found = measure_neighbours(cell)
    train, test, labels, features = cell.images.train, cell.images.test, cell.images.labels, cell.features
    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine")
    expected = model.fit(features[train], labels[train]).predict_proba(features[test])
    decided = (expected == expected.max(axis=1, keepdims=True)).sum(axis=1) == 1
    right = found.arrays["outcome.knn_top1"][decided]
    np.testing.assert_array_equal(right, (expected.argmax(axis=1) == labels[test])[decided])
    assert decided.mean() > 0.5
    for name, value in found.metrics.items():
        assert value == pytest.approx(found.arrays[f"outcome.{name}"].mean())
        assert len(found.arrays[f"unit.{name}"]) == len(found.arrays[f"outcome.{name}"])


def test_classes_that_training_did_not_see_are_searched_only(tmp_path):
    found = measure_neighbours(embedded(tmp_path, novel=True))
    assert set(found.metrics) == {"recall_at_1", "map_at_r"}
