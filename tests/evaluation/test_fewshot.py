"""Few-shot classifiers against scikit-learn's, episode by episode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from clce_bench.data.episodes import EpisodeSet
from clce_bench.evaluation import fewshot
from clce_bench.evaluation.fewshot import logistic_regression, nearest_centroid, unit_length


def draw(rng, labels, count, way, shot, queries=5):
    rows = np.empty((count, way, shot + queries), dtype=np.int64)
    for episode in rows:
        for position, label in enumerate(rng.choice(np.unique(labels), way, replace=False)):
            episode[position] = rng.choice(np.flatnonzero(labels == label), shot + queries, replace=False)
    return EpisodeSet(rows[:, :, :shot], rows[:, :, shot:])


def made_up(seed, classes=8, each=30, size=16, views=None, signal=1.5):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    features = (rng.normal(size=(len(labels), size)) + signal * rng.normal(size=(classes, size))[labels]).astype(
        "float32"
    )
    support = None
    if views:
        support = (features + 0.5 * rng.normal(size=(views, *features.shape))).astype("float32")
    return rng, labels, features, support


def loop(make, features, episodes, support=None, normalise=True):
    unit = unit_length(features) if normalise else features
    views = [unit] if support is None else unit_length(support) if normalise else support
    views, unit = np.asarray(views, dtype=float), unit.astype(float)  # In float32 scikit-learn stops early.
    way, shot = episodes.support.shape[1:]
    accuracies = []
    for own, queries in zip(*episodes, strict=True):
        rows = np.concatenate([view[own.ravel()] for view in views])
        model = make().fit(rows, np.tile(np.repeat(np.arange(way), shot), len(views)))
        accuracies.append(model.score(unit[queries.ravel()], np.repeat(np.arange(way), queries.shape[1])))
    return np.array(accuracies)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.sampled_from([None, 3]), st.integers(0, 10**6))
def test_nearest_centroid_equals_scikit_learns(way, shot, views, seed):
    rng, labels, features, support = made_up(seed, views=views)
    episodes = draw(rng, labels, 12, way, shot)
    expected = loop(NearestCentroid, features, episodes, support)
    np.testing.assert_allclose(nearest_centroid(features, episodes, support).mean(axis=1), expected)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(2, 6), st.integers(1, 4), st.sampled_from([None, 3]), st.sampled_from([0.1, 1, 20]), st.integers(0, 99)
)
def test_logistic_regression_equals_scikit_learns(way, shot, views, strength, seed):
    rng, labels, features, support = made_up(seed, views=views)
    episodes = draw(rng, labels, 2, way, shot)
    expected = loop(lambda: LogisticRegression(C=strength, tol=1e-8, max_iter=5000), features, episodes, support)
    found = logistic_regression(features, episodes, support, strength).mean(axis=1)
    assert np.abs(found - expected).max() <= 1 / episodes.query[0].size + 1e-9  # At most one query on the boundary.


def test_logistic_regression_is_within_a_tenth_of_a_point_of_scikit_learn():
    rng, labels, features, _ = made_up(0, size=640, signal=0.25)
    episodes = draw(rng, labels, 40, 5, 1, queries=15)
    expected = loop(lambda: LogisticRegression(C=1.0, tol=1e-6, max_iter=1000), features, episodes)
    assert 0.3 < expected.mean() < 0.95
    assert logistic_regression(features, episodes).mean() == pytest.approx(expected.mean(), abs=1e-3)


def test_the_number_of_episodes_at_a_time_does_not_matter():
    rng, labels, features, support = made_up(1, views=2)
    episodes = draw(rng, labels, 120, 5, 2)
    for classify in (nearest_centroid, logistic_regression):
        whole = classify(features, episodes, support)
        single = [classify(features, EpisodeSet(*(rows[[k]] for rows in episodes)), support)[0] for k in range(120)]
        np.testing.assert_allclose(whole.mean(axis=1), np.mean(single, axis=1), atol=1 / 25 + 1e-9)
        assert np.mean(whole == single) > 0.95


@pytest.mark.parametrize("strength", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("way", [2, 3])
def test_scores_have_scikit_learns_margins(way, strength):
    rng, labels, features, _ = made_up(3)
    episodes = draw(rng, labels, 1, way, 6)
    samples = unit_length(features[episodes.support[0].ravel()])
    truth = np.repeat(np.arange(way), 6)
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(samples.astype(float), truth)
    coefficients, intercepts = fewshot.fit(samples[None], np.eye(way, dtype="float32")[truth], strength)
    logits = samples @ (samples.T @ coefficients[0]) + intercepts[0]
    np.testing.assert_allclose(softmax(logits, axis=1), model.predict_proba(samples.astype(float)), atol=1e-3)


@settings(max_examples=5, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.sampled_from([None, 3]), st.sampled_from([0.3, 1.5, 6.0]))
def test_features_as_they_are_give_what_scikit_learn_gives(way, shot, views, signal):
    rng, labels, features, support = made_up(way * 10 + shot, views=views, signal=signal)
    episodes = draw(rng, labels, 4, way, shot)
    expected = loop(NearestCentroid, features, episodes, support, normalise=False)
    np.testing.assert_allclose(nearest_centroid(features, episodes, support, normalise=False).mean(axis=1), expected)
    expected = loop(lambda: LogisticRegression(tol=1e-8, max_iter=9000), features, episodes, support, normalise=False)
    found = logistic_regression(features, episodes, support, normalise=False).mean(axis=1)
    assert np.abs(found - expected).max() <= 1 / episodes.query[0].size + 1e-9


@pytest.mark.parametrize("size", [40, 640])
def test_logits_of_large_features_with_a_mean_of_their_own_are_scikit_learns(size):
    rng, labels, features, support = made_up(5, size=size, views=5, signal=0.4)
    features, support = 1.5 * features + 2, 1.5 * support + 2  # Norms of 16 and 64, as backbones have them.
    own = draw(rng, labels, 1, 5, 5).support[0].ravel()
    samples, truth = support[:, own].reshape(-1, size), np.tile(np.repeat(np.arange(5), 5), 5)
    coefficients, intercepts = fewshot.fit(samples[None], np.eye(5, dtype="float32")[truth], 1.0)
    found = samples @ (samples.T @ coefficients[0]) + intercepts[0]
    model = LogisticRegression(tol=1e-8, max_iter=9000).fit(samples.astype(float), truth)
    expected = model.decision_function(samples.astype(float))
    centred = (expected - expected.mean(axis=1, keepdims=True)).astype("float32")
    assert np.abs(centred).max() > 3
    np.testing.assert_allclose(found - found.mean(axis=1, keepdims=True), centred, atol=0.03)
