"""Losses of pytorch-metric-learning, named by their paths, against loops written from their formulas."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as library
from pytorch_metric_learning.losses import CrossBatchMemory, SupConLoss

from clce_bench.components.hyperparameters import hyperparameters_of
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.step import Batch, TrainStep
from tests.components.test_own_loss import cell
from tests.losses.references import loop, random_embeddings, supcon
from tests.training.test_step import INSTANCE_IDS, inputs, train_step
from tests.training.test_step import LABELS as STEP_LABELS

PACKAGE = "pytorch_metric_learning.losses"
LABELS = [2, 0, 1, 0, 2, 0, 1, 1, 2]
HEAD = {"num_classes": 3, "embedding_size": 5}


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def mean_of_what_counts(values):
    """The library leaves zeros out of many of its means."""
    counting = [value for value in values if value > 0]
    return mean(counting) if counting else 0.0


def softplus(value):
    return math.log1p(math.exp(value))


def logsumexp(values):
    return math.log(sum(map(math.exp, values)))


class Rows:
    """Cosines and distances of rows of unit length, and a loss's parameter as columns of unit length."""

    def __init__(self, embeddings, loss):
        self.rows = torch.nn.functional.normalize(embeddings)
        self.loss = loss
        self.all = range(len(LABELS))
        self.positives = [[j for j in self.all if j != i and LABELS[j] == LABELS[i]] for i in self.all]
        self.negatives = [[j for j in self.all if LABELS[j] != LABELS[i]] for i in self.all]

    def cosine(self, i, j):
        return float(self.rows[i] @ self.rows[j])

    def distance(self, i, j):
        return math.sqrt(max(2 - 2 * self.cosine(i, j), 0))

    def triplets(self):
        return [(i, p, n) for i in self.all for p in self.positives[i] for n in self.negatives[i]]

    def classes(self, weights):
        """Cosines of each row with the centre of each class, (rows, classes)."""
        return (self.rows @ torch.nn.functional.normalize(weights.detach().double(), dim=0)).tolist()


def contrastive(at):
    pulled = mean_of_what_counts(at.distance(i, p) - 0.1 for i in at.all for p in at.positives[i])
    return pulled + mean_of_what_counts(1.1 - at.distance(i, n) for i in at.all for n in at.negatives[i])


def triplet_margin(at):
    return mean_of_what_counts(at.distance(i, p) - at.distance(i, n) + 0.3 for i, p, n in at.triplets())


def multi_similarity(at):
    return mean(
        math.log1p(sum(math.exp(-2 * (at.cosine(i, p) - 0.4)) for p in at.positives[i])) / 2
        + math.log1p(sum(math.exp(9 * (at.cosine(i, n) - 0.4)) for n in at.negatives[i])) / 9
        for i in at.all
    )


def circle(at, m=0.3, gamma=4):
    def pulled(s):
        return -gamma * max(1 + m - s, 0) * (s - (1 - m))

    def pushed(s):
        return gamma * max(s + m, 0) * (s - m)

    return mean_of_what_counts(
        softplus(
            logsumexp(pulled(at.cosine(i, p)) for p in at.positives[i])
            + logsumexp(pushed(at.cosine(i, n)) for n in at.negatives[i])
        )
        for i in at.all
    )


def ntxent(at, tau=0.3):
    return mean(
        softplus(logsumexp(at.cosine(i, n) / tau for n in at.negatives[i]) - at.cosine(i, p) / tau)
        for i in at.all
        for p in at.positives[i]
    )


def nca(at):
    def attraction(i, others):
        return sum(math.exp(-3 * at.distance(i, j) ** 2) for j in others)

    return mean(
        -math.log(attraction(i, at.positives[i]) / attraction(i, at.positives[i] + at.negatives[i])) for i in at.all
    )


def lifted_structure(at):
    return mean_of_what_counts(
        max(
            logsumexp(at.distance(i, p) for p in at.positives[i])
            + logsumexp(1.2 - at.distance(i, n) for n in at.negatives[i]),
            0,
        )
        for i in at.all
    )


def margin(at, beta=1.1, margin=0.2):
    losses = [
        (max(at.distance(i, p) - beta + margin, 0), max(beta - at.distance(i, n) + margin, 0))
        for i, p, n in at.triplets()
    ]
    return sum(map(sum, losses)) / sum(value > 0 for pair in losses for value in pair)


def softmax(at, weights, temperature, cosine_margin=0.0):
    def cost(cosines, label):
        logits = [(s - cosine_margin * (k == label)) / temperature for k, s in enumerate(cosines)]
        return logsumexp(logits) - logits[label]

    return mean(cost(cosines, label) for cosines, label in zip(at.classes(weights), LABELS, strict=True))


def proxy_anchor(at, delta=0.2, alpha=7):
    cosines = at.classes(at.loss.proxies.T)
    pulled = pushed = 0.0
    for k in range(3):
        pulled += math.log1p(sum(math.exp(-alpha * (cosines[i][k] - delta)) for i in at.all if LABELS[i] == k))
        pushed += math.log1p(sum(math.exp(alpha * (cosines[i][k] + delta)) for i in at.all if LABELS[i] != k))
    return (pulled + pushed) / 3


CASES = {
    "ContrastiveLoss": ({"pos_margin": 0.1, "neg_margin": 1.1}, contrastive),
    "TripletMarginLoss": ({"margin": 0.3}, triplet_margin),
    "MultiSimilarityLoss": ({"alpha": 2, "beta": 9, "base": 0.4}, multi_similarity),
    "CircleLoss": ({"m": 0.3, "gamma": 4}, circle),
    "NTXentLoss": ({"temperature": 0.3}, ntxent),
    "SupConLoss": ({"temperature": 0.3}, lambda at: loop(at.rows, LABELS, supcon(0.3))),
    "NCALoss": ({"softmax_scale": 3}, nca),
    "GeneralizedLiftedStructureLoss": ({"neg_margin": 1.2}, lifted_structure),
    "MarginLoss": ({"beta": 1.1, "learn_beta": True}, margin),
    "NormalizedSoftmaxLoss": ({**HEAD, "temperature": 0.3}, lambda at: softmax(at, at.loss.W, 0.3)),
    "CosFaceLoss": ({**HEAD, "margin": 0.2, "scale": 5}, lambda at: softmax(at, at.loss.W, 1 / 5, 0.2)),
    "ProxyAnchorLoss": ({**HEAD, "margin": 0.2, "alpha": 7}, proxy_anchor),
}


@pytest.mark.parametrize("name", CASES)
def test_value_is_that_of_the_formula_and_what_it_learns_gets_a_gradient(name):
    hyperparameters, reference = CASES[name]
    own = cell({"name": f"{PACKAGE}:{name}", **hyperparameters, "recipe": {"projection_size": 5}})
    loss = contrastive_loss(own).double()
    embeddings = random_embeddings(len(LABELS), 51).requires_grad_()
    value = loss(embeddings, torch.tensor(LABELS))
    assert value.item() == pytest.approx(reference(Rows(embeddings.detach(), loss)), rel=1e-6)
    value.backward()
    assert embeddings.grad.any()
    assert all(parameter.grad.any() for parameter in loss.parameters())
    assert bool(list(loss.parameters())) is bool("num_classes" in hyperparameters or "learn_beta" in hyperparameters)


def test_a_constructor_that_passes_all_on_takes_what_its_base_takes():
    assert hyperparameters_of(f"{PACKAGE}:CosFaceLoss") == {**dict.fromkeys(HEAD, ...), "margin": 0.35, "scale": 64}


class WithMemory(torch.nn.Module):
    """As docs/extend.md has it."""

    def __init__(self):
        super().__init__()
        self.memory = CrossBatchMemory(SupConLoss(), embedding_size=8, memory_size=64)

    def forward(self, embeddings, labels):
        return self.memory(embeddings, labels)

    def get_extra_state(self):
        return {"place": self.memory.queue_idx, "full": self.memory.has_been_filled}

    def set_extra_state(self, state):
        self.memory.queue_idx, self.memory.has_been_filled = state["place"], state["full"]


def stepping(loss):
    """A training step with a loss of 8 dimensions in place of the usual one."""
    made = train_step(projection_size=8)
    torch.manual_seed(3)
    return TrainStep(made.model, FusedLoss(loss(), 0.5), made.cell, Runtime(), classes=4)


@pytest.mark.parametrize(
    "loss", [lambda: library.ProxyAnchorLoss(num_classes=4, embedding_size=8), WithMemory], ids=["proxies", "memory"]
)
def test_training_learns_a_losss_parameters_and_continues_with_its_memory(loss):
    def steps(taking, numbers):
        return [taking(number, Batch(inputs(), STEP_LABELS, INSTANCE_IDS)) for number in numbers]

    whole, first, second = stepping(loss), stepping(loss), stepping(loss)
    before = [parameter.detach().clone() for parameter in whole.loss.parameters()]
    torch.manual_seed(4)
    expected = steps(whole, range(4))
    assert all(not torch.equal(old, new) for old, new in zip(before, whole.loss.parameters(), strict=True))
    torch.manual_seed(4)
    assert steps(first, range(2)) == expected[:2]
    second.load(first.state())
    assert steps(second, range(2, 4)) == expected[2:]
