"""Geometry, calibration and class means against loops, scikit-learn and cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score, top_k_accuracy_score
from sklearn.neighbors import NearestCentroid

from clce_bench.evaluation import geometry
from clce_bench.evaluation.classification import calibration_error, in_top, nearest_class_mean, per_class
from clce_bench.evaluation.fewshot import unit_length


def clusters(seed, images=60, classes=4, size=6):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    return (rng.normal(size=(images, size)) + rng.normal(size=(classes, size))[labels]).astype("float32"), labels


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([7, 512]))
def test_pairs_equal_a_loop(seed, block):
    features, labels = clusters(seed)
    unit = unit_length(features)
    histograms = np.zeros((2, 4, geometry.BINS), dtype=int)
    cosines, spread = ([], []), []
    for i in range(len(unit)):
        for j in range(len(unit)):
            if i != j:
                cosine, kind = float(unit[i] @ unit[j]), int(labels[i] != labels[j])
                place = min(int((np.clip(cosine, -1, 1) + 1) * geometry.BINS / 2), geometry.BINS - 1)
                histograms[kind, labels[i], place] += 1
                cosines[kind].append(cosine)
                spread.append(np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "BLOCK", block)
        pairs = geometry.pairs(unit, labels, 4)
    for counts, expected in zip(pairs[:2], histograms, strict=True):
        assert counts.sum() == expected.sum()
        # Rounding may put a cosine on the other side of an edge.
        assert np.abs(np.cumsum(counts, axis=1) - np.cumsum(expected, axis=1)).max() <= 2
    assert pairs.positive_mean == pytest.approx(np.mean(cosines[0]), abs=1e-5)
    assert pairs.negative_mean == pytest.approx(np.mean(cosines[1]), abs=1e-5)
    assert pairs.alignment == pytest.approx(np.mean([2 - 2 * cosine for cosine in cosines[0]]), abs=1e-5)
    assert pairs.uniformity == pytest.approx(np.log(np.mean(spread)), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_silhouette_equals_scikit_learns(seed):
    features, labels = clusters(seed)
    expected = silhouette_score(features, labels, metric="cosine")
    assert geometry.silhouette(unit_length(features), labels) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_principal_variances_equal_singular_values(shape):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False) ** 2 / (shape[0] - 1)
    found = geometry.principal_variances(features)
    assert len(found) == shape[1]
    np.testing.assert_allclose(found[: len(values)], values, atol=1e-4)
    assert found[len(values) :].sum() == 0


def test_isoscore_has_the_values_of_its_paper():
    """1 for equal variances, 0 for a line, (k − 1) / (d − 1) for k of d dimensions in use."""
    assert geometry.isoscore(np.ones(10)) == pytest.approx(1)
    assert geometry.isoscore(np.eye(10)[0]) == pytest.approx(0, abs=1e-9)
    for used in (2, 5, 9):
        assert geometry.isoscore(np.repeat([3.0, 0.0], [used, 10 - used])) == pytest.approx((used - 1) / 9)


def test_effective_rank_counts_equal_directions():
    assert geometry.effective_rank(np.array([2.0, 2, 2, 0, 0])) == pytest.approx(3)
    assert 1 < geometry.effective_rank(np.array([9.0, 0.01])) < 2


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_in_top_equals_scikit_learns(seed, k):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(40, 6)), rng.integers(6, size=40)
    expected = top_k_accuracy_score(truth, scores, k=k, labels=np.arange(6))
    assert in_top(scores, truth, k).mean() == pytest.approx(expected)


def test_calibration_error_equals_a_loop_over_bins():
    rng = np.random.default_rng(0)
    logits, truth = 3 * rng.normal(size=(500, 4)), rng.integers(4, size=500)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (shares.max(axis=1) >= low) & (shares.max(axis=1) < low + 1 / 15)
        if inside.any():
            right = (shares.argmax(axis=1) == truth)[inside].mean()
            error += inside.mean() * abs(right - shares.max(axis=1)[inside].mean())
    assert calibration_error(logits, truth) == pytest.approx(error)
    assert calibration_error(np.array([[50.0, 0.0]] * 4), np.zeros(4, dtype=int)) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 10**6))
def test_nearest_class_mean_equals_scikit_learns(seed):
    features, labels = clusters(seed)
    expected = NearestCentroid().fit(unit_length(features[:40]), labels[:40] * 3).predict(unit_length(features[40:]))
    np.testing.assert_array_equal(nearest_class_mean(features[:40], labels[:40] * 3, features[40:]), expected)


def test_accuracy_per_class():
    np.testing.assert_allclose(per_class(np.array([True, False, True]), np.array([0, 0, 1])), [0.5, 1])
