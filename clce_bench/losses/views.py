"""What losses without pairs share: they compare whole views of a batch, dimension by dimension."""

import math
from abc import ABC, abstractmethod
from itertools import combinations
from typing import Any, ClassVar, TypedDict, Unpack

import torch
from torch import Tensor, nn

from clce_bench.losses.core import _check, normalise_rows
from clce_bench.losses.gather import Gathered


class ViewOptions(TypedDict, total=False):
    """What every such loss takes beside its hyper-parameters."""

    gather: bool
    """Compute with the rows of all processes of ``torch.distributed``, not only of this one."""


class ViewLoss(nn.Module, ABC):
    """Base of the losses of two views: subclasses say what a pair of views costs.

    Rows are scaled to length √dimensions first. As in all losses here, their own length does not count; at this one,
    each dimension can have the standard deviation 1. With more than two views, the loss is the mean over all pairs.

    Args:
        options: ``gather``, see :class:`ViewOptions`.
    """

    self_supervised: ClassVar[bool] = True

    def __init__(self, **options: Unpack[ViewOptions]) -> None:
        super().__init__()
        unknown = options.keys() - ViewOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"{', '.join(sorted(unknown))}: no such option of {type(self).__name__}.")
        self.gather = options.get("gather", False)

    @abstractmethod
    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns the loss of two views of the same images, each (images, dimensions), as a scalar."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            embeddings: (rows, dimensions), any float type; computed in float32 at least.
            labels: which image each row is a view of, (rows,), integer. Views of an image are in the same order for all
                images.

        Returns:
            A scalar; 0 with a zero gradient where no image has two views, or fewer than two images have.

        Raises:
            ValueError: the shapes or types do not fit, or images have different numbers of views.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            views = self.views_of(embeddings, labels)
            if too_few(views):
                return 0.0 * views.sum()
            return torch.stack([self.per_pair(one, other) for one, other in combinations(views, 2)]).mean()

    def views_of(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Scales rows, and sorts them by view, then by image: (views, images, dimensions), of all processes."""
        _check(embeddings, labels)
        batch = Gathered(normalise_rows(embeddings) * math.sqrt(embeddings.shape[1]), labels.long(), self.gather)
        return _views(batch.rows, batch.labels)


def too_few(views: Tensor) -> bool:
    """Whether there is nothing to compare: less than two views, or less than two images that have them."""
    return len(views) < 2 or views.shape[1] < 2


def _views(rows: Tensor, labels: Tensor) -> Tensor:
    """Sorts rows by view, then by image: (views, images, dimensions)."""
    counts = torch.unique(labels, return_counts=True)[1].tolist()
    number = counts[0] if counts else 0
    if set(counts) - {number}:
        listing = f"images have {min(counts)} to {max(counts)} views"
        raise ValueError(f"labels: {listing}. Expected: the same number of each.")
    return rows[labels.argsort(stable=True)].view(len(counts), number, rows.shape[1]).transpose(0, 1)


def product(one: Tensor, other: Tensor) -> Tensor:
    """Multiplies matrices, in both passes in their own precision also where the caller is inside autocast."""
    result: Tensor = _Product.apply(one, other)
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(one: Tensor, other: Tensor) -> Tensor:
        return one @ other

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        one, other = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            return gradient @ other.T, one.T @ gradient


def off_diagonal_squares(matrix: Tensor) -> Tensor:
    """Adds up the squares of a square matrix's entries off its diagonal."""
    return matrix.pow(2).sum() - matrix.diagonal().pow(2).sum()
