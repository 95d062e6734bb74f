"""Intervals, corrections and components against scipy, formulas written out and simulation."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from baycomp import CorrelatedTTest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from clce_bench.analysis.bootstrap import hierarchical_bootstrap
from clce_bench.analysis.intervals import (
    class_interval,
    crossed_interval,
    mean_interval,
    split_interval,
)
from clce_bench.analysis.significance import effect_size, holm
from clce_bench.analysis.variance_components import crossed_components, mean_squares

numbers = st.lists(st.floats(-100, 100), min_size=3, max_size=20).filter(lambda values: np.std(values) > 1e-6)


@given(numbers)
def test_interval_and_p_value_equal_scipys(values):
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert interval.mean == pytest.approx(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)


@given(numbers, st.randoms(use_true_random=False))
def test_interval_of_paired_differences_equals_scipys(values, random):
    baseline = [value + random.uniform(-1, 1) for value in values]
    assume(np.ptp(np.subtract(values, baseline)) > 1e-6)
    interval = mean_interval(np.subtract(values, baseline))
    reference = stats.ttest_rel(values, baseline).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), rel=1e-6, abs=1e-6)


def test_what_too_few_or_equal_runs_cannot_say_is_not_said():
    few = [
        mean_interval([3.0]),
        crossed_interval([[2.0, 4.0]]),
        mean_interval([2.0, 4.0]),
        split_interval([2, 4], 1, 9),
    ]
    for interval in (*few, mean_interval([3.0] * 5), crossed_interval(np.full((4, 30), 3.0))):
        assert interval.mean == 3.0
        assert np.isnan([interval.low, interval.high, interval.p]).all()


def crossed(rng, seeds, units, seed=1.0, unit=1.0, rest=1.0):
    parts = (
        seed * rng.normal(size=(seeds, 1)),
        unit * rng.normal(size=(1, units)),
        rest * rng.normal(size=(seeds, units)),
    )
    return sum(parts)


def test_components_recover_what_made_the_table():
    rng = np.random.default_rng(0)
    found = np.mean([crossed_components(crossed(rng, 6, 40, 0.5, 3, 2)) for _ in range(600)], axis=0)
    np.testing.assert_allclose(found, [0.25 / 6, 9 / 40, 4 / 240], rtol=0.12)


@given(st.integers(2, 8), st.integers(2, 30), st.integers(0, 10**6))
def test_components_sum_to_the_analysis_of_variance(seeds, units, seed):
    table = crossed(np.random.default_rng(seed), seeds, units)
    rest = sum(
        (table[s, u] - table[s].mean() - table[:, u].mean() + table.mean()) ** 2
        for s in range(seeds)
        for u in range(units)
    ) / ((seeds - 1) * (units - 1))
    parts = crossed_components(table)
    assert parts.rest == pytest.approx(rest / (seeds * units))
    assert parts.seed == pytest.approx(max(np.var(table.mean(axis=1), ddof=1) / seeds - parts.rest, 0))
    assert parts.unit == pytest.approx(max(np.var(table.mean(axis=0), ddof=1) / units - parts.rest, 0))


@pytest.mark.parametrize(("seeds", "shares"), [(3, (1, 0, 0)), (3, (0.2, 1, 1)), (5, (0, 1, 0)), (5, (0, 0, 1))])
def test_intervals_over_seeds_and_units_hold_what_they_promise(seeds, shares):
    rng = np.random.default_rng(1)
    scale = np.sqrt(shares) * np.array([seeds, 60, seeds * 60]) ** 0.5
    held = 0
    # Without effects of seeds the floor under their mean square makes the interval careful.
    least, most = (0.95, 0.99) if shares[2] else (0.93, 0.97)
    for _ in range(800):
        interval = crossed_interval(crossed(rng, seeds, 60, *scale))
        held += interval.low <= 0 <= interval.high
    assert least <= held / 800 <= most


def test_seeds_that_agree_by_chance_do_not_shorten_the_interval():
    table = crossed(np.random.default_rng(7), 3, 200)
    same = table - table.mean(axis=1, keepdims=True)
    interval = crossed_interval(same)
    squares = mean_squares(same)
    assert squares.seeds == pytest.approx(0, abs=1e-12)
    # As if each seed had brought images of its own, and the effects of images beside.
    error = np.sqrt(max(squares.units, squares.rest) / same.size)
    assert interval.high - interval.mean == pytest.approx(1.96 * error, rel=0.02)


def episodes_of(classes, way):
    return np.array(list(combinations(range(classes), way)))


def test_interval_over_classes_is_the_jackknife_where_episodes_have_no_rest():
    rng, ways = np.random.default_rng(8), episodes_of(9, 3)
    effects = rng.normal(size=9)
    values = effects[ways].mean(axis=1) + 1e-7 * rng.normal(size=(4, len(ways)))
    left_out = [values[0, ~(ways == one).any(axis=1)].mean() for one in range(9)]
    error = np.sqrt(8 / 9 * ((left_out - np.mean(left_out)) ** 2).sum())
    interval = class_interval(values, ways)
    reference = stats.t.interval(0.95, 8, effects.mean(), error)
    assert (interval.low, interval.high) == pytest.approx(reference, rel=1e-4)


def test_interval_over_classes_needs_more_classes_than_ways():
    assert np.isnan(class_interval(np.random.default_rng(0).normal(size=(3, 40)), np.tile(np.arange(5), (40, 1))).low)


@pytest.mark.parametrize(("folds", "seeds"), [(1, 3), (4, 5)])
def test_few_shot_intervals_hold_what_they_promise(folds, seeds):
    """Variance from classes, images, episodes, seeds, and of classes by seed."""
    rng, held, repeats, images = np.random.default_rng(9), 0, 150, 26
    for _ in range(repeats):
        values, ways, own = [], [], 0.5 * rng.normal(size=(seeds, 1))
        for fold in range(folds):
            drawn = rng.permuted(np.tile(np.arange(11), (150, 1)), axis=1)[:, :5]
            of_images = rng.normal(size=(11, images)) + rng.normal(size=(11, 1))
            support = of_images[drawn, rng.integers(images, size=drawn.shape)].mean(axis=1)
            of_class = 0.5 * rng.normal(size=(seeds, 11))[:, drawn].mean(axis=2)
            values.append(support + own + of_class + rng.normal(size=150) + rng.normal(size=(seeds, 150)))
            ways.append(drawn + 11 * fold)
        interval = class_interval(np.concatenate(values, axis=1), np.concatenate(ways))
        held += interval.low <= 0 <= interval.high
    assert 0.93 <= held / repeats <= 0.98


def test_components_are_those_of_a_mixed_model_with_crossed_effects():
    table = crossed(np.random.default_rng(1), 5, 60, 0.6, 1.5, 1.0)
    assert min(crossed_components(table)) > 0
    seed, unit = (axis.ravel() for axis in np.indices(table.shape))
    frame = pd.DataFrame({"y": table.ravel(), "seed": seed, "unit": unit, "all": 0})
    effects = {"seed": "0 + C(seed)", "unit": "0 + C(unit)"}
    fitted = MixedLM.from_formula("y ~ 1", groups="all", vc_formula=effects, re_formula="0", data=frame).fit()
    parts = crossed_components(table)
    found = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
    assert found["seed"] / 5 == pytest.approx(parts.seed, rel=0.03)
    assert found["unit"] / 60 == pytest.approx(parts.unit, rel=0.03)
    assert fitted.scale / 300 == pytest.approx(parts.rest, rel=0.03)
    assert fitted.bse["Intercept"] == pytest.approx(np.sqrt(sum(parts)), rel=0.03)


@pytest.mark.parametrize("repeats", [1, 3])
def test_interval_over_parts_in_turn_is_baycomps_correlated_t_test(repeats):
    folds, margin = 4, 0.1
    means = np.random.default_rng(3).normal(0.3, 1, folds * repeats)
    interval = split_interval(means, 1 / (folds - 1), seeds=5)
    below, within, above = CorrelatedTTest(np.zeros_like(means), means, rope=margin, runs=repeats).probs()
    spread = (interval.high - interval.mean) / stats.t.ppf(0.975, len(means) - 1)
    expected = stats.t.cdf([-margin, margin], len(means) - 1, interval.mean, spread)
    np.testing.assert_allclose([below, below + within], expected, rtol=1e-6)
    assert below + within + above == pytest.approx(1)


def test_interval_and_p_value_agree():
    rng = np.random.default_rng(2)
    for _ in range(200):
        interval = crossed_interval(crossed(rng, 4, 30) + rng.normal())
        assert (interval.p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_interval_over_splits_is_nadeau_and_bengios():
    means, ratio = [0.2, 0.5, 0.1, 0.4], 0.25
    interval = split_interval(means, ratio, seeds=8)
    error = np.sqrt((1 / 4 + ratio) * np.var(means, ddof=1))
    assert (interval.low, interval.high) == pytest.approx(stats.t.interval(0.95, 3, 0.3, error))
    assert (interval.mean, interval.n) == (pytest.approx(0.3), 8)


def test_bootstrap_equals_resampling_written_out():
    table = crossed(np.random.default_rng(3), 4, 25, 1, 3, 2)
    rng, naive = np.random.default_rng(4), []
    for _ in range(4000):
        rows, columns = rng.integers(4, size=4), rng.integers(25, size=25)
        naive.append(table[np.ix_(rows, columns)].mean())
    means = hierarchical_bootstrap(table)
    assert len(means) == 10_000
    quantiles = [0.025, 0.25, 0.5, 0.75, 0.975]
    np.testing.assert_allclose(np.quantile(means, quantiles), np.quantile(naive, quantiles), atol=0.12 * np.std(naive))
    np.testing.assert_array_equal(means, hierarchical_bootstrap(table))
    np.testing.assert_allclose(hierarchical_bootstrap(2 * table), 2 * means, rtol=1e-4, atol=1e-4)


def test_bootstrap_of_many_units_keeps_mean_and_spread():
    table = crossed(np.random.default_rng(5), 5, 6000, 0.0, 1.0, 1.0)
    means = hierarchical_bootstrap(table)
    assert means.mean() == pytest.approx(table.mean(), abs=3e-4)
    expected = np.sqrt(np.var(table.mean(axis=0)) / 6000 + np.var(table.mean(axis=1)) / 5 + 1 / 30_000)
    assert means.std() == pytest.approx(expected, rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_the_definition(p):
    order = np.argsort(p, kind="stable")
    expected, running = np.empty(len(p)), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[place]))
        expected[place] = running
    np.testing.assert_allclose(holm(p), expected)
    np.testing.assert_allclose(holm([*p, np.nan])[:-1], expected)


def test_effect_size_is_hedges():
    values = [1.0, 2.0, 4.0, 3.5]
    correction = 1 - 3 / (4 * 3 - 1)  # Hedges' approximation for 3 degrees of freedom.
    assert effect_size(values) == pytest.approx(correction * np.mean(values) / np.std(values, ddof=1), rel=0.01)
    assert np.isnan(effect_size([1.0]))
    assert np.isnan(effect_size([1.0, 1.0]))
