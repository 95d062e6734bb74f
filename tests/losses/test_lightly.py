"""Self-supervised losses against lightly's, on random rows of the length that the losses here scale rows to."""

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, DCLLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss

from tests.losses.references import create, random_embeddings

IMAGES, WIDE = 12, 8
LABELS = torch.arange(IMAGES).repeat(2)


def rows(seed):
    return F.normalize(random_embeddings(2 * IMAGES, seed, WIDE), dim=1) * math.sqrt(WIDE)


def symmetric(loss):
    """Both views in turn, each with the other one's target."""

    def value(ours, one, other, target, other_target):
        return (loss(ours, one, other_target) + loss(ours, other, target)) / 2

    return value


def queued(ours, query, key):
    loss = NTXentLoss(temperature=ours.temperature, memory_bank_size=(len(ours.queue), WIDE))
    loss.memory_bank.bank, loss.memory_bank.bank_ptr = ours.queue.clone(), torch.zeros(1, dtype=torch.long)
    return loss(query, key)


negative_cosine = NegativeCosineSimilarity()
# By loss: hyper-parameters, and lightly's value from the loss here, both views and both targets.
THEIRS = {
    "barlow-twins": ({"redundancy": 0.02}, lambda ours, one, other, *_: BarlowTwinsLoss(0.02)(one, other)),
    "vicreg": ({}, lambda ours, one, other, *_: VICRegLoss()(one, other)),
    "dcl": ({"temperature": 0.3}, lambda ours, one, other, *_: DCLLoss(0.3)(one, other)),
    "ntxent": ({"temperature": 0.3}, lambda ours, one, other, *_: NTXentLoss(0.3)(one, other)),
    "simsiam": (
        {"predictor_size": 6},
        symmetric(lambda ours, one, target: negative_cosine(ours.predictor(one), target)),
    ),
    "byol": (
        {"predictor_size": 6},
        symmetric(lambda ours, one, target: 2 + 2 * negative_cosine(ours.predictor(one), target)),
    ),
    "moco": ({"queue_size": 40}, symmetric(queued)),
}


@pytest.mark.parametrize("name", THEIRS)
def test_values_and_gradients_are_lightlys(name):
    torch.manual_seed(0)
    hyperparameters, theirs = THEIRS[name]
    loss, embeddings = create(name, WIDE, **hyperparameters), rows(1).requires_grad_()
    momentum = hasattr(loss, "momentum_at")
    targets = (rows(2) if momentum else embeddings.detach()).chunk(2)
    trained = [embeddings, *loss.parameters()]
    expected = theirs(loss, *embeddings.chunk(2), *targets)
    wanted = torch.autograd.grad(expected, trained)
    value = loss(embeddings, LABELS, *((torch.cat(targets),) if momentum else ()))
    found = torch.autograd.grad(value, trained)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    # The length of rows does not count here: what of the gradient changes it is taken out of theirs.
    along = (wanted[0] * embeddings).sum(1, keepdim=True) * embeddings / WIDE
    for ours, other in zip(found, [wanted[0] - along, *wanted[1:]], strict=True):
        torch.testing.assert_close(ours, other.detach(), rtol=1e-10, atol=1e-12)
