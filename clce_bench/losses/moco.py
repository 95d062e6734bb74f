"""MoCo v2."""

import math
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.targets import TargetLoss
from clce_bench.losses.views import ViewOptions, product


class MoCo(TargetLoss):
    r"""Momentum contrast: negatives are the keys of earlier steps (He et al., arXiv 1911.05722; v2: arXiv 2003.04297).

    .. math:: \ell_i = -\log \frac{e^{q_i \cdot k_i/\tau}}{e^{q_i \cdot k_i/\tau} + \sum_{k \in Q} e^{q_i \cdot k/\tau}}

    where q is a view's embedding, k a momentum encoder's embedding of another view of the image (a key), and Q the
    queue of the latest keys, random directions at first. As in the authors' demonstration on CIFAR-10, every view is a
    query once per other view, and the keys of all views enter the queue after the step. There is no shuffling of batch
    normalisation. ``labels`` say which rows are views of one image.

    Args:
        embedding_size: width of the embeddings.
        temperature: τ, scale of the similarities, > 0; v2's.
        queue_size: how many keys Q has.
        momentum: of the momentum encoder, in [0, 1].
        options: ``gather``.
    """

    queue: Tensor

    def __init__(
        self,
        embedding_size: int,
        temperature: float = 0.2,
        queue_size: int = 65536,
        momentum: float = 0.999,
        **options: Unpack[ViewOptions],
    ) -> None:
        super().__init__(momentum, **options)
        given: dict[str, Any] = {"embedding_size": embedding_size, "temperature": temperature, "queue_size": queue_size}
        check_hyperparameters(given)
        self.temperature = temperature
        self.register_buffer("queue", F.normalize(torch.randn(queue_size, embedding_size), dim=1))

    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns what a view costs beside its target, each (images, dimensions)."""
        length = math.sqrt(one.shape[1])
        positive = (one * other).sum(dim=1, keepdim=True) / length**2
        negatives = product(one, self.queue.T) / length
        similarities = torch.cat([positive, negatives], dim=1) / self.temperature
        return F.cross_entropy(similarities, similarities.new_zeros(len(one), dtype=torch.long))

    def remember(self, targets: Tensor) -> None:
        """Puts the keys of all views in front of the queue, whose oldest ones fall out."""
        keys = targets.flatten(0, 1).to(self.queue.dtype) / math.sqrt(targets.shape[2])
        self.queue = torch.cat([keys, self.queue])[: len(self.queue)]
