"""Exact gradients of a contrastive batch that does not fit into memory at once.

A contrastive loss compares all rows of a batch, so gradients of small batches do not add up to that of a large one. But
the encoder is only needed row by row: embed the whole batch in pieces without a graph, take the loss's gradient with
respect to the embeddings, then embed each piece again and pass its part of that gradient on (Gao et al., arXiv
2101.06983).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clce_bench.training.distributed import all_reduce_any
from clce_bench.training.random_state import RandomState


def cached_backward(encoder: nn.Module, inputs: Tensor, loss: Callable[..., Tensor], micro_batch: int) -> Tensor:
    """Adds the gradients of a whole batch's loss to the parameters, holding the graph of one micro-batch at a time.

    >>> from clce_bench.losses import create_loss
    >>> encoder, contrastive = nn.Linear(16, 8), create_loss("clce")
    >>> images, labels = torch.randn(32, 16), torch.arange(32) % 4
    >>> cached_backward(encoder, images, lambda embeddings: contrastive(embeddings, labels), micro_batch=8).shape
    torch.Size([])
    >>> encoder.weight.grad.shape
    torch.Size([8, 16])

    Dropout and stochastic depth draw the same numbers both times, from torch's generators. With
    ``DistributedDataParallel`` gradients are exchanged once, with the last micro-batch, of which each process may have
    another number; a loss with ``gather=True`` then sees the batches of all processes.

    Args:
        encoder: returns a tensor, or a tuple of tensors and ``None``, each with one row per input.
        inputs: (rows, …).
        loss: takes what the encoder returns for the whole batch (a tuple as separate arguments), returns a scalar.
        micro_batch: rows that the encoder sees at once, ≥ 1.

    Returns:
        The loss, detached.

    Raises:
        TypeError: the encoder returns something else.
        ValueError: the encoder has batch normalisation in training mode, whose statistics would be those of the
            micro-batches, or ``micro_batch`` is below 1.
    """
    if micro_batch < 1:
        raise ValueError(f"micro_batch: {micro_batch} is not allowed. Allowed: at least 1.")
    pieces = torch.split(inputs, micro_batch)
    exchanging = hasattr(encoder, "no_sync")
    several = len(pieces) > 1
    # All processes go the same way: otherwise one would exchange buffers and buckets while others gather embeddings.
    if not (all_reduce_any(several) if exchanging else several):
        value = loss(*_as_tuple(encoder(inputs)))
        torch.autograd.backward(value)
        return value.detach()
    _refuse_batch_norm(encoder)
    states, outputs = [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(RandomState(inputs.device))
            outputs.append(_as_tuple(encoder(piece)))
    whole = [_joined(parts) for parts in zip(*outputs, strict=True)]
    del outputs
    value = loss(*whole)
    torch.autograd.backward(value)
    starts = range(0, max(len(inputs), 1), micro_batch)  # A process may have no rows, in one piece.
    for start, piece, state in zip(starts, pieces, states, strict=True):
        last = start == starts[-1]
        with state.replayed(), nullcontext() if last else _without_exchange(encoder):
            again = _as_tuple(encoder(piece))
            used = [
                (output, full)
                for output, full in zip(again, whole, strict=True)
                if output is not None
                and full is not None
                and output.requires_grad
                # Processes wait for each other's gradients, of outputs that the loss does not read too.
                and (full.grad is not None or exchanging)
            ]
            shares = [
                torch.zeros_like(output) if full.grad is None else full.grad[start : start + len(piece)]
                for output, full in used
            ]
            if used:
                torch.autograd.backward([output for output, _ in used], shares)
    return value.detach()


def _as_tuple(outputs: Any) -> tuple[Tensor | None, ...]:
    several: tuple[Any, ...] = outputs if isinstance(outputs, tuple) else (outputs,)
    for output in several:
        if not (output is None or (isinstance(output, Tensor) and output.ndim > 0)):
            raise TypeError(
                f"encoder: returned {type(output).__name__}. Allowed: a tensor with one row per input, or a tuple of"
                " such tensors and None."
            )
    return several


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    if not found:
        return None
    whole = torch.cat(found)
    return whole.requires_grad_() if whole.is_floating_point() else whole


def _without_exchange(encoder: nn.Module) -> AbstractContextManager[Any]:
    no_sync: Callable[[], AbstractContextManager[Any]] = getattr(encoder, "no_sync", nullcontext)
    return no_sync()


def _refuse_batch_norm(encoder: nn.Module) -> None:
    for name, module in encoder.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"{name or type(module).__name__}: batch normalisation in training mode cannot be used with"
                " micro-batches: its statistics would be theirs. Put it in eval mode, or use one batch."
            )
