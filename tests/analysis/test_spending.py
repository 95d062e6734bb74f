"""Spending functions spend α, never less with more seeds, and as their papers say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from clce_bench.analysis.spending import SPENDING, levels, obrien_fleming, pocock, power_family

FUNCTIONS = [SPENDING, obrien_fleming, pocock, power_family(1), power_family(2), power_family(3)]
ALPHAS = st.floats(1e-6, 0.2)


@given(
    spending=st.sampled_from(FUNCTIONS),
    alpha=ALPHAS,
    first=st.integers(3, 20),
    step=st.integers(1, 7),
    rounds=st.integers(1, 8),
)
def test_looks_together_spend_alpha_and_none_less_than_nothing(spending, alpha, first, step, rounds):
    counts = [first + step * number for number in range(rounds + 1)]
    found = levels(alpha, counts, spending)
    assert len(found) == len(counts)
    assert min(found) >= 0
    assert sum(found) == pytest.approx(alpha, rel=1e-9)


@given(spending=st.sampled_from(FUNCTIONS), alpha=ALPHAS, shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_more_seeds_have_spent_more(spending, alpha, shares):
    assert spending(alpha, min(shares)) <= spending(alpha, max(shares)) <= alpha * (1 + 1e-9)


def test_what_is_spent_is_what_the_papers_print():
    # Lan and DeMets (1983): α₁*(t) = 2 − 2Φ(z / √t), α₂*(t) = α ln(1 + (e − 1) t).
    assert obrien_fleming(0.05, 0.5) == pytest.approx(2 - 2 * norm.cdf(norm.isf(0.025) / math.sqrt(0.5)))
    assert pocock(0.05, 0.5) == pytest.approx(0.05 * math.log(1 + (math.e - 1) / 2))
    assert power_family(3)(0.05, 0.5) == pytest.approx(0.05 / 8)
