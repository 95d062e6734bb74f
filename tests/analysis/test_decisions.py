"""The decision table, the shares of a page's error rate, and power against simulated tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clce_bench.analysis.decisions import REPRODUCED, Category, decide
from clce_bench.analysis.intervals import Interval, crossed_interval, crossed_parts, half_width
from clce_bench.analysis.power import (
    Spread,
    power,
    seeds_needed,
    smallest_visible,
    spread_of,
    units_needed,
)
from clce_bench.analysis.variance_components import MeanSquares
from clce_bench.experiment.claims import PAGE_ALPHA, alpha_shares, packaged_claims, parse_claim

ends = st.floats(-10, 10).map(lambda value: round(value, 1))


@given(st.tuples(ends, ends, ends, ends).map(sorted), st.floats(0, 3), st.floats(0, 2), st.none() | st.floats(0, 5))
def test_any_interval_falls_into_exactly_one_category(sorted_ends, margin, tolerance, size):
    low, inner_low, inner_high, high = sorted_ends
    interval, inner = (Interval(0.0, *pair, 5, 0.5) for pair in ((low, high), (inner_low, inner_high)))
    above, below = low > -tolerance, high < -tolerance
    within = -margin < inner_low and inner_high < margin
    claimed = above and not (within and tolerance == 0)
    smaller = size is not None and high < size
    holds: dict[Category, bool] = {
        "reproduced": claimed and not smaller,
        "reproduced, smaller than claimed": claimed and smaller,
        "equivalent": within and not claimed,
        "contradicted": below and not within,
        "undecided": not (claimed or within or below),
    }
    assert sum(holds.values()) == 1
    assert holds[decide(interval, inner, margin, tolerance, size)]


def test_without_an_interval_nothing_is_decided():
    unknown = Interval(5.0, np.nan, np.nan, 2, np.nan)
    assert decide(unknown, unknown, 1.0) == "undecided"


def claims_of(*ranks):
    first = next(iter(packaged_claims().values()))
    return [parse_claim({**first, "primary": primary, "weight": weight}) for primary, weight in ranks]


def test_shares_of_the_error_rate_are_fixed_before_any_result():
    theorem = parse_claim(packaged_claims()["tcl-positive-gradient"])
    shares = alpha_shares([*claims_of((True, 1), (True, 1), (False, 1), (False, 3)), theorem])
    np.testing.assert_allclose(shares, [0.0125, 0.0125, 0.00625, 0.01875, 0])
    assert sum(alpha_shares(claims_of((False, 1), (False, 2)))) == pytest.approx(PAGE_ALPHA)
    assert alpha_shares([theorem]) == [0]


def table(rng, seeds, units, difference):
    parts = (
        0.8 * rng.normal(size=(seeds, 1)),
        12.0 * rng.normal(size=(1, units)),
        20.0 * rng.normal(size=(seeds, units)),
    )
    return difference + sum(parts)


SPREAD = Spread(seeds=5, units=200, seed=0.64, unit=144.0, rest=400.0)


def intervals(rng, spread, truth, alpha, count):
    """Draws means and their mean squares, and the two intervals of a verdict from each."""
    n, m = spread.seeds, spread.units
    expected = (m * spread.seed + spread.rest, n * spread.unit + spread.rest, spread.rest)
    freedoms = (n - 1, m - 1, (n - 1) * (m - 1))
    squares = MeanSquares(*(v * rng.chisquare(of, count) / of for v, of in zip(expected, freedoms, strict=True)))
    means = truth + spread.variance**0.5 * rng.normal(size=count)
    parts = crossed_parts(squares, n, m)
    for mean, *halves in zip(means, half_width(parts, alpha / 2), half_width(parts, alpha), strict=True):
        yield [Interval(mean, mean - half, mean + half, n, np.nan) for half in halves]


@pytest.mark.parametrize("spread", [SPREAD, SPREAD._replace(unit=4.0, rest=20.0, seed=0.1)])
def test_a_page_is_false_at_most_five_times_in_a_hundred(spread):
    """Four claims at once, each truth in turn: any false reproduced, contradicted or equivalent."""
    rng, shares = np.random.default_rng(0), alpha_shares(claims_of(*[(n == 0, 1) for n in range(4)]))
    seen = set()
    for truth in (0.0, 0.5, 1.0, 2.0, 3.4):
        wrong = {"contradicted", *(REPRODUCED if truth == 0 else ()), *(("equivalent",) if truth >= 1 else ())}
        claims = [[decide(*both, margin=1.0) for both in intervals(rng, spread, truth, a, 2000)] for a in shares]
        pages = [set(page) for page in zip(*claims, strict=True)]
        seen |= set.union(*pages)
        assert np.mean([not wrong.isdisjoint(page) for page in pages]) <= 0.06  # Two standard errors above 5 in 100.
    assert {"reproduced", "undecided"} <= seen
    assert ("equivalent" in seen) == (spread.unit < 10)


def test_predicted_power_is_that_of_simulated_tests():
    rng = np.random.default_rng(1)
    for difference in (3.0, 6.0):
        found = np.mean([crossed_interval(table(rng, 5, 200, difference)).p < 0.05 for _ in range(600)])
        assert power(SPREAD, difference, 0.05) == pytest.approx(found, abs=0.05)
    visible = smallest_visible(SPREAD, 0.05)
    assert power(SPREAD, visible, 0.05) == pytest.approx(0.8, abs=0.001)
    assert smallest_visible(SPREAD, 0.01) > visible
    assert smallest_visible(SPREAD._replace(seeds=2), 0.05) == np.inf


def test_more_seeds_help_until_test_images_are_the_limit():
    visible = smallest_visible(SPREAD, 0.05)
    needed = seeds_needed(SPREAD, 0.8 * visible, 0.05)
    assert needed > 5
    assert smallest_visible(SPREAD._replace(seeds=needed), 0.05) <= 0.8 * visible
    # With all seeds of the world, images alone leave 2.8 standard errors of their own.
    limit = 2.8 * np.sqrt(SPREAD.unit / SPREAD.units)
    assert seeds_needed(SPREAD, 0.9 * limit, 0.05) is None
    assert units_needed(SPREAD, 0.9 * limit, 0.05) > SPREAD.units
    assert units_needed(SPREAD._replace(seed=400.0), 1.0, 0.05) is None


def test_the_spread_of_a_difference_is_estimated_from_its_table():
    from clce_bench.analysis.contrasts import Contrast

    rng = np.random.default_rng(2)
    found = []
    for _ in range(60):
        drawn = table(rng, 6, 300, 0.0) + 3 * rng.normal(size=(6, 1))
        found.append(spread_of(Contrast({0: drawn}, {0: drawn.mean(axis=1)[:, None]}, None, 0.4, 1, ())))
    means = np.mean([[one.seed, one.unit, one.rest] for one in found], axis=0)
    np.testing.assert_allclose(means, [9.64, 144, 400], rtol=0.3)
    assert (found[0].seeds, found[0].units) == (6, 300)
    assert spread_of(Contrast({0: drawn[:2]}, {0: drawn[:2, :1]}, None, 0.4, 1, ())) is None
