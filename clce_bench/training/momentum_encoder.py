"""A second network for losses that ask for one: it follows the first as a moving average and is not trained."""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor

from clce_bench.components.hyperparameters import MOMENTUM_EMBEDDINGS
from clce_bench.losses.fused import FusedLoss
from clce_bench.models.classifier import ContrastiveClassifier


class MomentumEncoder:
    """A copy of the tail and the projection head.

    It is in training mode as the network is, so that batch normalisation which takes the statistics of the batch does
    so here too.

    Args:
        model: the network, with its initial weights.
        loss: a contrastive loss, whose ``momentum_at`` says how closely the copy follows.
        steps: of the whole training.
    """

    def __init__(self, model: ContrastiveClassifier, loss: Any, steps: int) -> None:
        self.momentum_at, self.steps = loss.momentum_at, steps
        self.model = copy.deepcopy(model)
        self.model.classifier = None
        self.model.requires_grad_(False).train()

    @torch.no_grad()
    def embed(self, inputs: Tensor, micro_batch: int) -> Tensor:
        """Embeds rows, so many at once: (rows, projection_size)."""
        return torch.cat([self.model(piece).embeddings for piece in torch.split(inputs, micro_batch)])

    @torch.no_grad()
    def follow(self, model: ContrastiveClassifier, step: int) -> None:
        """Moves the copy's weights towards the network's after a step, which counts from 0."""
        momentum, theirs = self.momentum_at(step / self.steps), dict(model.named_parameters())
        for name, parameter in self.model.named_parameters():
            parameter.lerp_(theirs[name], 1 - momentum)


def momentum_encoder(model: ContrastiveClassifier, loss: FusedLoss, steps: int) -> MomentumEncoder | None:
    """Makes the momentum encoder that a loss asks for by an argument of its ``forward``; ``None`` for others.

    Args:
        model: the network, with its initial weights.
        loss: what trains it.
        steps: of the whole training.
    """
    contrastive = loss.contrastive
    if contrastive is None or MOMENTUM_EMBEDDINGS not in inspect.signature(contrastive.forward).parameters:
        return None
    return MomentumEncoder(model, contrastive, steps)
