"""Every loss against a loop over pairs in plain Python floats, written from the papers' formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss

from clce_bench.errors import UserError
from clce_bench.losses import FusedLoss, create_loss


def loop(embeddings, labels, anchor_loss):
    """Mean of ``anchor_loss(positives, negatives)``, lists of cosine similarities, over anchors with a positive."""
    unit = [[x / math.sqrt(sum(v * v for v in row)) for x in row] for row in embeddings.double().tolist()]
    values = []
    for i, row in enumerate(unit):
        similar = [sum(a * b for a, b in zip(row, other, strict=True)) for other in unit]
        positives = [s for j, s in enumerate(similar) if j != i and labels[j] == labels[i]]
        negatives = [s for j, s in enumerate(similar) if labels[j] != labels[i]]
        if positives:
            values.append(anchor_loss(positives, negatives))
    return sum(values) / len(values) if values else 0.0


def hard_negatives(negatives, tau, beta):
    if not negatives:
        return 0.0
    weights = [math.exp(s / tau) ** beta for s in negatives]
    mean = sum(weights) / len(weights)
    return sum(w / mean * math.exp(s / tau) for w, s in zip(weights, negatives, strict=True))


def supcon(tau):
    def value(positives, negatives):
        total = sum(math.exp(s / tau) for s in positives + negatives)
        return -sum(math.log(math.exp(s / tau) / total) for s in positives) / len(positives)

    return value


def schane(tau, beta):
    def value(positives, negatives):
        mean = sum(math.exp(s / tau) for s in positives) / len(positives)
        return -math.log(mean / (mean + hard_negatives(negatives, tau, beta)))

    return value


def clce(tau, beta):
    def value(positives, negatives):
        total = sum(math.exp(s / tau) for s in positives)
        return -math.log(total / len(positives) / (total + hard_negatives(negatives, tau, beta)))

    return value


def tcl(tau, k1, k2):
    def value(positives, negatives):
        denominator = sum(math.exp(s / tau) for s in positives)
        denominator += k1 * sum(math.exp(-s) for s in positives) + k2 * sum(math.exp(s / tau) for s in negatives)
        return -sum(math.log(math.exp(s / tau) / denominator) for s in positives) / len(positives)

    return value


batches = st.lists(st.integers(0, 3), min_size=2, max_size=12)
temperatures = st.floats(0.05, 2.0)
CASES = {
    "supcon": (lambda tau, a, b: {"temperature": tau}, lambda tau, a, b: supcon(tau)),
    "schane": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: schane(tau, a)),
    "clce": (lambda tau, a, b: {"temperature": tau, "beta": a}, lambda tau, a, b: clce(tau, a)),
    "tcl": (lambda tau, a, b: {"temperature": tau, "k1": 100 * a, "k2": b}, lambda tau, a, b: tcl(tau, 100 * a, b)),
}


def random_embeddings(rows, seed, dimensions=5):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=40)
@given(labels=batches, tau=temperatures, a=st.floats(0, 2), b=st.floats(0, 3), seed=st.integers(0, 100))
def test_loss_equals_the_loop(name, labels, tau, a, b, seed):
    hyperparameters, reference = (make(tau, a, b) for make in CASES[name])
    embeddings = random_embeddings(len(labels), seed)
    value = create_loss(name, **hyperparameters)(embeddings, torch.tensor(labels))
    assert value.item() == pytest.approx(loop(embeddings, labels, reference), rel=1e-9, abs=1e-9)


def test_supcon_equals_pytorch_metric_learning():
    embeddings, labels = random_embeddings(64, 0).float(), torch.arange(64) % 8
    ours, theirs = create_loss("supcon", temperature=0.1), SupConLoss(temperature=0.1)
    assert ours(embeddings, labels).item() == pytest.approx(theirs(embeddings, labels).item(), rel=1e-5)


def test_tcl_without_its_tuning_is_supcon():
    embeddings, labels = random_embeddings(32, 1), torch.arange(32) % 4
    tuned = create_loss("tcl", temperature=0.2, k1=0.0, k2=1.0)(embeddings, labels)
    assert tuned.item() == pytest.approx(create_loss("supcon", temperature=0.2)(embeddings, labels).item())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "labels",
    [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 1, 1]],
    ids=["one class", "singletons", "mixed", "pairs"],
)
@pytest.mark.parametrize("kind", ["random", "equal rows", "a zero row"])
def test_value_and_gradient_are_finite(name, labels, kind):
    embeddings = random_embeddings(4, 2).float()
    if kind == "equal rows":
        embeddings = embeddings[:1].repeat(4, 1)
    if kind == "a zero row":
        embeddings[0] = 0
    embeddings.requires_grad_()
    value = create_loss(name, temperature=0.01)(embeddings, torch.tensor(labels))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(embeddings.grad).all()
    if len(set(labels)) == 4:
        assert value.item() == 0
        assert not embeddings.grad.any()


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_the_value(name):
    embeddings = random_embeddings(8, 3).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 0])
    loss = create_loss(name, temperature=0.5)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels), embeddings)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_single(name, dtype):
    embeddings, labels = random_embeddings(64, 4).to(dtype), torch.arange(64) % 8
    loss = create_loss(name, temperature=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(embeddings, labels)
    assert value.item() == pytest.approx(loss(embeddings.double(), labels).item(), rel=1e-4)


def test_order_of_rows_and_length_do_not_matter():
    embeddings, labels = random_embeddings(16, 5), torch.arange(16) % 4
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    for name in CASES:
        loss = create_loss(name)
        assert loss(3 * embeddings[order], labels[order]).item() == pytest.approx(loss(embeddings, labels).item())


def test_fusion_weighs_cross_entropy_and_contrast():
    embeddings, labels = random_embeddings(16, 6), torch.arange(16) % 4
    logits = random_embeddings(16, 7, dimensions=4)
    contrastive = create_loss("clce")
    ce = torch.nn.functional.cross_entropy(logits, labels).item()
    contrast = contrastive(embeddings, labels).item()
    for weight in (0, 0.3, 1):
        value = FusedLoss(contrastive, weight)(logits, embeddings, labels).item()
        assert value == pytest.approx((1 - weight) * ce + weight * contrast)


def test_bad_hyperparameters_are_named():
    with pytest.raises(ValueError, match=r"temperature: 0 is not allowed\. Allowed: a finite number above 0"):
        create_loss("clce", temperature=0)
    with pytest.raises(ValueError, match="weight: 1.5 is not allowed"):
        FusedLoss(create_loss("clce"), 1.5)
    with pytest.raises(UserError, match="'schanne' is not a loss. Did you mean 'schane'"):
        create_loss("schanne")
