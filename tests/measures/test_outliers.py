"""Scores of outliers against the formulas of their papers, their ranking against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from clce_bench.evaluation.fewshot import unit_length
from clce_bench.measures.neighbours import NEIGHBOURS
from clce_bench.measures.outliers import ranked_above, scores
from tests.measures.embedded import CLASSES, SIZE, embedded


def test_the_mean_of_the_shares_is_the_area_under_the_roc_curve():
    """With many ties."""
    rng = np.random.default_rng(0)
    own, theirs = rng.integers(2, 12, 200).astype(float), rng.integers(0, 9, 70).astype(float)
    truth = np.repeat([1, 0], [200, 70])
    scores = np.concatenate([own, theirs])
    area = ranked_above(own, theirs).mean()
    assert area == pytest.approx(roc_auc_score(truth, scores))
    # It takes scores outside [0, 1] for logits, whose probabilities round: scaled, ties stay ties.
    assert area == pytest.approx(float(binary_auroc(torch.from_numpy(scores / 12), torch.from_numpy(truth))), abs=1e-6)


def test_scores_are_those_of_the_papers(tmp_path):
    cell = embedded(tmp_path)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(9, SIZE)).astype("float32")
    logits = rng.normal(size=(9, CLASSES)).astype("float32")
    found = scores(cell, features, logits)
    exponentials = np.exp(logits.astype(float))
    np.testing.assert_allclose(found["softmax"], (exponentials / exponentials.sum(1, keepdims=True)).max(1), rtol=1e-5)
    np.testing.assert_allclose(found["energy"], np.log(exponentials.sum(1)), rtol=1e-5)
    train, labels = cell.features[cell.images.train].astype(float), cell.images.labels[cell.images.train]
    distances = np.sort(cdist(unit_length(features), unit_length(train)), axis=1)
    np.testing.assert_allclose(found["neighbour"], -distances[:, NEIGHBOURS - 1], rtol=1e-4)
    # Of very many images the shrunk covariance is the plain one.
    many = cell._replace(
        features=np.tile(cell.features, (300, 1)),
        images=cell.images._replace(
            train=np.concatenate([cell.images.train + copy * len(cell.features) for copy in range(300)]),
            labels=np.tile(cell.images.labels, 300),
        ),
    )
    means = np.stack([train[labels == label].mean(0) for label in range(CLASSES)])
    precision = np.linalg.inv(np.cov((train - means[labels]).T, bias=True))
    expected = cdist(features, means, "mahalanobis", VI=precision).min(axis=1) ** 2
    np.testing.assert_allclose(scores(many, features, None)["mahalanobis"], -expected, rtol=1e-2)
    assert set(scores(cell, features, None)) == {"mahalanobis", "neighbour"}
