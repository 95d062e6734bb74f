"""Micro-batches give the gradients of the whole batch."""

import pytest
import torch
from torch import nn

from clce_bench.losses import FusedLoss, create_loss
from clce_bench.training.gradient_cache import cached_backward


class Encoder(nn.Module):
    """Features to logits and embeddings, with dropout and stochastic depth."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 16), nn.Linear(16, 16)
        self.dropout = nn.Dropout(0.3)
        self.classifier, self.head = nn.Linear(16, 4), nn.Linear(16, 8)

    def forward(self, inputs):
        hidden = self.dropout(self.first(inputs).relu())
        kept = torch.rand(len(hidden), 1) > 0.2 if self.training else torch.ones(len(hidden), 1)
        hidden = hidden + kept * self.second(hidden)
        return self.classifier(hidden), self.head(hidden)


def gradients(encoder):
    found = [parameter.grad.clone() for parameter in encoder.parameters()]
    encoder.zero_grad()
    return found


@pytest.mark.parametrize("name", ["supcon", "schane", "clce", "tcl", "ntxent", "hcl"])
@pytest.mark.parametrize("micro_batch", [1, 5, 24, 100])
def test_gradients_equal_those_of_the_whole_batch(name, micro_batch):
    torch.manual_seed(0)
    encoder, inputs, labels = Encoder(), torch.randn(24, 12), torch.arange(24) % 4
    loss = FusedLoss(create_loss(name), 0.7)
    torch.manual_seed(1)
    outputs = [encoder(piece) for piece in inputs.split(micro_batch)]
    whole = loss(*(torch.cat(parts) for parts in zip(*outputs, strict=True)), labels)
    whole.backward()
    expected = gradients(encoder)
    after = torch.rand(())
    torch.manual_seed(1)
    value = cached_backward(encoder, inputs, lambda *outputs: loss(*outputs, labels), micro_batch)
    assert torch.rand(()) == after
    assert value.item() == pytest.approx(whole.item(), rel=1e-6)
    for result, reference in zip(gradients(encoder), expected, strict=True):
        torch.testing.assert_close(result, reference, rtol=1e-5, atol=1e-7)


def test_autocast_does_not_lose_gradients():
    torch.manual_seed(0)
    encoder, inputs, labels = nn.Linear(12, 8), torch.randn(24, 12), torch.arange(24) % 4
    loss = create_loss("clce")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss(encoder(inputs), labels).backward()
        expected = gradients(encoder)
        cached_backward(encoder, inputs, lambda embeddings: loss(embeddings, labels), 8)
    for result, reference in zip(gradients(encoder), expected, strict=True):
        assert (result - reference).norm() < 0.02 * reference.norm()


def test_outputs_that_are_not_trained_or_not_read_are_allowed():
    encoder, inputs = Encoder().eval(), torch.randn(6, 12)
    encoder.head.requires_grad_(False)
    cached_backward(encoder, inputs, lambda logits, _embeddings: logits.square().mean(), 4)
    assert encoder.classifier.weight.grad.abs().sum() > 0
    encoder.second.requires_grad_(False)
    encoder.first.requires_grad_(False)
    cached_backward(encoder, inputs, lambda logits, embeddings: logits.mean() + embeddings.mean(), 4)
    assert encoder.head.weight.grad is None


def test_batch_normalisation_in_training_mode_is_refused():
    encoder, inputs = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8)), torch.randn(6, 12)
    with pytest.raises(ValueError, match="1: batch normalisation in training mode"):
        cached_backward(encoder, inputs, torch.sum, 4)
    cached_backward(encoder.eval(), inputs, torch.sum, 4)
    with pytest.raises(ValueError, match="micro_batch: 0 is not allowed"):
        cached_backward(encoder, inputs, torch.sum, 0)


@pytest.mark.parametrize("micro_batch", [4, 10])
def test_outputs_of_another_form_are_refused(micro_batch):
    class Named(nn.Linear):
        def forward(self, inputs):
            return {"embeddings": super().forward(inputs)}

    with pytest.raises(TypeError, match="encoder: returned dict. Allowed: a tensor with one row per input"):
        cached_backward(Named(12, 8), torch.randn(6, 12), torch.sum, micro_batch)
