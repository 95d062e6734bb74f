"""The sum over an anchor's positives of a softplus of their similarity: a sum over pairs that is no log-sum-exp.

Rows come sorted by label, so the positives of neighbouring anchors are neighbours: only blocks along the diagonal are
computed, one at a time, and again in the backward pass.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clce_bench.losses.tiles import TILE, for_device


def positive_softplus(
    rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float
) -> Tensor:
    """Computes Σ_p log(1 + exp(offset_i − coefficient · z_i·z_p)) over the positives p of each anchor i.

    Args:
        rows: unit vectors z, (rows, dimensions), sorted by label.
        offsets: (anchors,).
        labels: (rows,), integer, rising.
        anchor_index: which rows are the anchors, (anchors,), rising; ``None`` for all.
        coefficient: > 0.

    Returns:
        (anchors,).
    """
    result: Tensor = _Softplus.apply(rows, offsets, labels, anchor_index, coefficient)
    return result


# Both passes are operators of their own, so that torch.compile takes each as one step. Their signatures are schemas.
@torch.library.custom_op("clce_bench::positive_softplus", mutates_args=())
def _forward(rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float) -> Tensor:
    sums = torch.zeros_like(offsets)
    for anchors, _, arguments, left_out in _blocks(rows, offsets, labels, anchor_index, coefficient):
        sums[anchors] += F.softplus(arguments).masked_fill_(left_out, 0).sum(dim=1)
    return sums


@torch.library.custom_op("clce_bench::positive_softplus_backward", mutates_args=())
def _backward(
    gradient: Tensor, rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float
) -> tuple[Tensor, Tensor]:
    index = torch.arange(len(rows), device=rows.device) if anchor_index is None else anchor_index
    to_rows, to_offsets = torch.zeros_like(rows), torch.zeros_like(offsets)
    for anchors, columns, arguments, left_out in _blocks(rows, offsets, labels, anchor_index, coefficient):
        slopes = arguments.sigmoid_().masked_fill_(left_out, 0).mul_(gradient[anchors, None])
        to_offsets[anchors] += slopes.sum(dim=1)
        to_rows.index_add_(0, index[anchors], slopes @ rows[columns], alpha=-coefficient)
        to_rows[columns].addmm_(slopes.T, rows[index[anchors]], alpha=-coefficient)
    return to_rows, to_offsets


def _blocks(
    rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Yields anchors, rows, offset_i − coefficient · s_ij of these pairs, and which of them are no positives."""
    index = torch.arange(len(rows), device=rows.device) if anchor_index is None else anchor_index
    size = for_device(TILE, rows.device)
    starts = range(0, len(index), size)
    stops = [min(start + size, len(index)) for start in starts]
    # The rows of the classes of a block's anchors are those from the first class's start to the last one's end.
    lows = torch.searchsorted(labels, labels[index[list(starts)]]).tolist()
    highs = torch.searchsorted(labels, labels[index[[stop - 1 for stop in stops]]], right=True).tolist()
    for start, stop, low, high in zip(starts, stops, lows, highs, strict=True):
        anchors, block = slice(start, stop), index[start:stop]
        for begin in range(low, high, size):
            columns = slice(begin, min(begin + size, high))
            others = torch.arange(columns.start, columns.stop, device=rows.device)
            left_out = (labels[block, None] != labels[columns]) | (block[:, None] == others)
            arguments = torch.addmm(offsets[anchors, None], rows[block], rows[columns].T, alpha=-coefficient)
            yield anchors, columns, arguments, left_out


@_forward.register_fake
def _(rows: Tensor, offsets: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(offsets)


@_backward.register_fake
def _(gradient: Tensor, rows: Tensor, offsets: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), torch.empty_like(offsets)


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(
        rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float
    ) -> Tensor:
        result: Tensor = _forward(rows, offsets, labels, anchor_index, coefficient)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        rows, offsets, labels, anchor_index, ctx.coefficient = inputs
        ctx.save_for_backward(rows, offsets, labels, anchor_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # The caller may be inside autocast.
        with torch.autocast(gradient.device.type, enabled=False):
            to_rows, to_offsets = _Slopes.apply(gradient, *ctx.saved_tensors, ctx.coefficient)
        return to_rows, to_offsets, None, None, None


class _Slopes(torch.autograd.Function):
    @staticmethod
    def forward(
        gradient: Tensor, rows: Tensor, offsets: Tensor, labels: Tensor, anchor_index: Tensor | None, coefficient: float
    ) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = _backward(gradient, rows, offsets, labels, anchor_index, coefficient)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise RuntimeError("Contrastive losses have no second derivatives here: call backward without create_graph.")
