"""What all contrastive losses here share: they say what an anchor costs, the base does the rest."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from clce_bench.losses.gather import Gathered
from clce_bench.losses.pairs import DensePairs, N, P, Pairs, TiledPairs
from clce_bench.losses.tiles import for_device

__all__ = ["ContrastiveLoss", "N", "Options", "P", "Pairs"]


DENSE_ROWS = {"cpu": 512, "cuda": 2048}
"""Batches of at most so many rows, by kind of device, are computed as one matrix, which is faster; others in tiles."""
PLAIN_ROWS = 64
"""Up to so many rows a function of one's own takes longer than the matrix product that it saves."""


class Options(TypedDict, total=False):
    """What every loss takes beside its hyper-parameters."""

    reduction: Literal["mean", "none"]
    """``mean`` over the anchors that have a positive, or ``none``: one value per anchor, 0 without a positive."""
    gather: bool
    """Compare with the rows of all processes of ``torch.distributed``, not only of this one."""


class ContrastiveLoss(nn.Module, ABC):
    """Base of the losses: subclasses say what one anchor costs.

    The loss is the mean over the anchors that have a positive; without any it is 0 with a zero gradient. With
    ``gather=True`` each process computes its own anchors against the rows of all. Its value is scaled so that the mean
    over the processes, which distributed data parallel takes of gradients, is the loss of the whole batch.

    Args:
        options: ``reduction`` and ``gather``, see :class:`Options`.
    """

    self_supervised: ClassVar[bool] = False
    """Whether labels say which rows are views of one image (True) or of one class (False)."""

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__()
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise TypeError(f"{', '.join(sorted(unknown))}: no such option of {type(self).__name__}.")
        self.reduction = options.get("reduction", "mean")
        self.gather = options.get("gather", False)
        if self.reduction not in ("mean", "none"):
            raise ValueError(f"reduction: {self.reduction!r} is not allowed. Allowed: 'mean', 'none'.")

    def extra_repr(self) -> str:
        """Lists hyper-parameters and options, for ``print(loss)``."""
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "training"}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    @abstractmethod
    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,); values of anchors without a positive are ignored."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            embeddings: (rows, dimensions), any float type, not necessarily normalised; computed in float32 at least.
            labels: (rows,), integer; all views of an image carry its label.

        Returns:
            A scalar; with ``reduction="none"`` the loss of each row as anchor, (rows,).

        Raises:
            ValueError: the shapes or types do not fit.
        """
        _check(embeddings, labels)
        labels = labels.long()
        in_autocast = torch.is_autocast_enabled(embeddings.device.type)
        with torch.autocast(embeddings.device.type, enabled=False):
            batch = Gathered(normalise_rows(embeddings), labels, self.gather)
            if len(batch.labels) <= for_device(DENSE_ROWS, labels.device):
                pairs, place = _dense(batch, in_autocast), None
            else:
                pairs, place = _tiled(batch)
            has_positive = pairs.count(P) > 0
            values = torch.where(has_positive, self.per_anchor(pairs), 0.0)
            if self.reduction == "mean":
                return values.sum() / (batch.total(has_positive.sum()).clamp(min=1) / batch.world_size)
            return values if place is None else torch.zeros_like(values).index_copy(0, place, values)

    @torch.no_grad()
    def gradient_weights(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes how strongly each pair is pulled or pushed: ∂ℓ_i/∂s_ij for anchor i and row j.

        The gradient of ℓ_i with respect to the anchor's unit vector is Σ_j weight_ij · z_j.

        Args:
            embeddings: (rows, dimensions).
            labels: (rows,).

        Returns:
            (rows, rows): negative for pairs drawn together, positive for pairs driven apart; 0 on the diagonal and for
            anchors without a positive. Takes memory for all pairs; of this process's rows only.
        """
        _check(embeddings, labels)
        rows = normalise_rows(embeddings)
        with torch.enable_grad(), torch.autocast(embeddings.device.type, enabled=False):
            similarity = (rows @ rows.T).detach().requires_grad_()
            pairs = DensePairs(similarity, labels)
            values = torch.where(pairs.count(P) > 0, self.per_anchor(pairs), 0.0)
            return torch.autograd.grad(values.sum(), similarity)[0]


def normalise_rows(embeddings: Tensor) -> Tensor:
    """Scales rows to unit length, in float32 at least; rows without length become 0, with a zero gradient.

    Args:
        embeddings: (rows, dimensions), any float type.
    """
    # Shorter rows count as empty: their gradient, which grows as they shrink, could not be represented.
    smallest = max(torch.finfo(embeddings.dtype).tiny, 1e-12)
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    # Dividing by the largest entry first keeps squares from overflowing; a unit vector does not depend on it.
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    empty = largest <= smallest
    rows = rows / largest.masked_fill(empty, torch.inf)
    unit: Tensor = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + empty)
    return unit


def _dense(batch: Gathered, in_autocast: bool) -> Pairs:
    rows = batch.rows
    similarity = rows @ rows.T if len(rows) <= PLAIN_ROWS and not in_autocast else _Similarity.apply(rows)
    if batch.is_anchor is None:
        return DensePairs(similarity, batch.labels)
    anchor_index = batch.is_anchor.nonzero().squeeze(1)
    return DensePairs(similarity[anchor_index], batch.labels, anchor_index)


def _tiled(batch: Gathered) -> tuple[Pairs, Tensor]:
    """Returns also which of this process's rows each anchor is."""
    order = batch.labels.argsort(stable=True)
    if batch.is_anchor is None:
        return TiledPairs(batch.rows[order], batch.labels[order]), order
    anchor_index = batch.is_anchor[order].nonzero().squeeze(1)
    return TiledPairs(batch.rows[order], batch.labels[order], anchor_index), order[anchor_index] - batch.start


# One product in the backward pass where a plain one takes two, and in single precision inside autocast too.
class _Similarity(torch.autograd.Function):
    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        return rows @ rows.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            passed: Tensor = (gradient + gradient.T) @ rows
        return passed


def _check(embeddings: Tensor, labels: Tensor) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not embeddings.is_floating_point():
        shapes = f"{tuple(embeddings.shape)} {embeddings.dtype} and {tuple(labels.shape)}"
        raise ValueError(f"embeddings, labels: {shapes} do not fit. Expected: floats (N, D) and labels (N,).")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels: {labels.dtype} is not allowed. Expected: integers.")
