"""What TCL's authors prove of its gradient, for any batch: closed forms against autograd on the losses themselves."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.analysis.gradient_theorems import tcl_gradients
from clce_bench.losses import create_loss

# The first row is the anchor; it has a positive and a negative at least.
others = st.lists(st.booleans(), min_size=2, max_size=12).filter(lambda same: any(same) and not all(same))
temperatures = st.floats(0.2, 1.0)
weights = st.floats(1.0, 1e4)
seeds = st.integers(0, 10_000)


def batch(same, seed):
    """Projections w_j, of any length, and labels: class 0 where a row is the anchor's positive."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(same) + 1, 4, generator=generator, dtype=torch.float64)
    return rows * (0.2 + 3 * torch.rand(len(rows), 1, generator=generator)), torch.tensor([0, *(1 - np.array(same))])


def per_pair(loss, rows, labels):
    """∂ℓ_0/∂s_0j of every pair of the anchor, by autograd: positives, negatives."""
    found = loss.gradient_weights(rows, labels)[0]
    positive = labels == 0
    positive[0] = False
    return found[positive].numpy(), found[labels != 0].numpy()


def closed_form(rows, labels, tau, k1, k2):
    unit = torch.nn.functional.normalize(rows)
    similar = (unit @ unit[0]).numpy()[1:]
    positive = labels.numpy()[1:] == 0
    return tcl_gradients(similar[positive], similar[~positive], tau, k1, k2), unit, positive


@settings(deadline=None, max_examples=100)
@given(same=others, tau=temperatures, k1=st.floats(0, 1e4), k2=st.floats(0, 1e4), seed=seeds)
def test_the_gradient_of_the_unit_vector_is_the_closed_form(same, tau, k1, k2, seed):
    """Lemma 1: ∂ℓ_i/∂z_i is a sum of the positives and negatives, each with its closed-form weight."""
    rows, labels = batch(same, seed)
    expected, *_ = closed_form(rows, labels, tau, k1, k2)
    positive, negative = per_pair(create_loss("tcl", temperature=tau, k1=k1, k2=k2), rows, labels)
    np.testing.assert_allclose(positive, expected.positive, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(negative, expected.negative, rtol=1e-8, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(same=others, tau=temperatures, k1=st.floats(0, 1e4), k2=st.floats(0, 1e4), seed=seeds)
def test_the_gradient_of_the_projection_is_its_part_across_the_unit_vector(same, tau, k1, k2, seed):
    """Lemma 2: ∂ℓ_i/∂w_i of w_i before normalisation; easy pairs, along z_i or against it, add nothing."""
    rows, labels = batch(same, seed)
    expected, unit, positive = closed_form(rows, labels, tau, k1, k2)
    along = torch.zeros(4, dtype=torch.float64)
    for weight, row in zip(expected.positive, unit[1:][positive], strict=True):
        along += weight * (row - (row @ unit[0]) * unit[0])
    for weight, row in zip(expected.negative, unit[1:][~positive], strict=True):
        along += weight * (row - (row @ unit[0]) * unit[0])
    anchor = rows[:1].clone().requires_grad_()
    loss = create_loss("tcl", temperature=tau, k1=k1, k2=k2, reduction="none")
    loss(torch.cat([anchor, rows[1:]]), labels)[0].backward()
    torch.testing.assert_close(anchor.grad[0], along / rows[0].norm(), rtol=1e-7, atol=1e-10)


@settings(deadline=None, max_examples=200)
@given(same=others, tau=temperatures, k1=weights, k2=weights, seed=seeds)
def test_positives_that_supcon_pulls_are_pulled_at_least_as_hard_by_tcl(same, tau, k1, k2, seed):
    """Theorem 1, k1, k2 ≥ 1. The hardest positive is always among those that SupCon pulls."""
    rows, labels = batch(same, seed)
    supcon, _ = per_pair(create_loss("supcon", temperature=tau), rows, labels)
    tcl, _ = per_pair(create_loss("tcl", temperature=tau, k1=k1, k2=k2), rows, labels)
    pulled = supcon <= 0
    assert pulled.any()
    assert (np.abs(tcl[pulled]) > np.abs(supcon[pulled])).all()


@settings(deadline=None, max_examples=200)
@given(same=others, tau=temperatures, k1=st.floats(0, 1e4), k2=weights, growth=st.floats(1.1, 10), seed=seeds)
def test_negatives_push_harder_as_k2_grows(same, tau, k1, k2, growth, seed):
    """Theorem 2, at fixed k1."""
    rows, labels = batch(same, seed)
    _, before = per_pair(create_loss("tcl", temperature=tau, k1=k1, k2=k2), rows, labels)
    _, after = per_pair(create_loss("tcl", temperature=tau, k1=k1, k2=growth * k2), rows, labels)
    assert (after > before).all()
