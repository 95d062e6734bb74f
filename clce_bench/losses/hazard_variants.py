"""What some released code does to a contrastive loss, to measure its effect (docs/audit.md). No loss here uses it."""

import torch
from torch import Tensor, nn

BASE_TEMPERATURE = 0.07
"""By which SupCon's released code divides τ."""


class PerProcess(nn.Module):
    """The loss of processes that do not gather: each compares its own images only; their mean is what trains.

    Args:
        loss: a contrastive loss.
        processes: how many share the batch.
        views: views per image.
    """

    def __init__(self, loss: nn.Module, processes: int, views: int) -> None:
        super().__init__()
        self.loss, self.processes, self.views = loss, processes, views

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes the mean over the processes.

        Args:
            embeddings: (views · images, dimensions): all images in their first view, then all in their second, …
            labels: (views · images,).

        Raises:
            ValueError: the processes cannot share the images evenly.
        """
        images = len(labels) // self.views
        if images % self.processes:
            raise ValueError(f"{images} images cannot be shared by {self.processes} processes evenly.")
        owner = torch.arange(images, device=labels.device) // (images // self.processes)
        rows = [(owner.repeat(self.views) == rank).nonzero().squeeze(1) for rank in range(self.processes)]
        return torch.stack([self.loss(embeddings[own], labels[own]) for own in rows]).mean()


class Scaled(nn.Module):
    """A loss times a constant, as SupCon's released code multiplies by τ over a base temperature.

    Args:
        loss: any loss.
        factor: what it is multiplied by.
    """

    def __init__(self, loss: nn.Module, factor: float) -> None:
        super().__init__()
        self.loss, self.factor = loss, factor

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes the scaled loss."""
        value: Tensor = self.factor * self.loss(embeddings, labels)
        return value
