"""Row-wise log-sum-exps over pairs of rows, computed tile by tile: memory grows with the rows, not with their pairs.

Rows come sorted by label, so almost every tile holds negatives only and needs no mask. Similarity is symmetric, so a
tile serves the anchors on both its sides. The backward pass computes the tiles again instead of keeping them.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE = 512
"""Rows and columns of a tile: its few matrices then stay in a processor's cache."""

NOTHING = -1e9
"""The log-sum-exp over an empty set: finite, so that what is derived from it has a zero gradient instead of NaN."""


class Tile(NamedTuple):
    """A block of pairs.

    Attributes:
        rows: of the anchors.
        columns: of the rows they are compared with.
        pure: the one kind of pair in it, True for positives, False for negatives; ``None`` for both, or self-pairs.
        mirrored: it also stands for the block with rows and columns exchanged.
    """

    rows: slice
    columns: slice
    pure: bool | None
    mirrored: bool


def pair_logsumexp(
    rows: Tensor, labels: Tensor, own: Tensor | None, positives: list[bool], coefficients: list[float]
) -> Tensor:
    """Computes log Σ_j exp(c · z_i·z_j) over the positives or the negatives j of each anchor i.

    Args:
        rows: unit vectors z, (rows, dimensions), float32 or float64, sorted by label.
        labels: (rows,), integer, rising.
        own: which rows are the anchors, (anchors,), rising; ``None`` for all.
        positives: for each wanted sum, whether it runs over the positives.
        coefficients: for each wanted sum, its c.

    Returns:
        (sums, anchors); :data:`NOTHING` where there is no such pair.
    """
    result: Tensor = _LogSumExp.apply(rows, labels, own, positives, coefficients)
    return result


# Both passes are operators of their own, so that torch.compile takes each as one step.
@torch.library.custom_op("clce_bench::pair_logsumexp", mutates_args=())
def _forward(
    rows: Tensor, labels: Tensor, own: Tensor | None, positives: list[bool], coefficients: list[float]
) -> Tensor:
    pairs = _Pairs(rows, labels, own, positives, coefficients)
    sums = rows.new_zeros(len(coefficients), len(pairs.anchors))
    sums[[index for index, bounded in enumerate(pairs.bounded) if not bounded]] = -torch.inf
    for tile in pairs.tiles():
        for index, values in pairs.terms(tile):
            for side, axis in ((tile.rows, 1), (tile.columns, 0)) if tile.mirrored else ((tile.rows, 1),):
                if pairs.bounded[index]:
                    sums[index, side] += values.sum(axis)
                else:
                    sums[index, side] = torch.logaddexp(sums[index, side], values.logsumexp(axis))
    for index, bounded in enumerate(pairs.bounded):
        if bounded:
            sums[index].log_()
    return sums.clamp_(min=NOTHING)


@torch.library.custom_op("clce_bench::pair_logsumexp_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    results: Tensor,
    rows: Tensor,
    labels: Tensor,
    own: Tensor | None,
    positives: list[bool],
    coefficients: list[float],
) -> Tensor:
    pairs = _Pairs(rows, labels, own, positives, coefficients)
    outer = gradient * torch.tensor(coefficients, dtype=rows.dtype, device=rows.device)[:, None]
    # d lse_i / d s_ij = c · exp(c·s_ij) / Σ exp: per row one number, where exponentials are bounded.
    shares = torch.where(results > NOTHING, outer * (-results).exp(), 0)
    to_rows, to_anchors = torch.zeros_like(rows), torch.zeros_like(pairs.anchors)
    for tile in pairs.tiles():
        total = None
        for index, values in pairs.terms(tile):
            if pairs.bounded[index]:
                share = shares[index, tile.rows, None]
                weights = (share + shares[index, None, tile.columns] if own is None else share) * values
            else:
                weights = (values - results[index, tile.rows, None]).exp_() * outer[index, tile.rows, None]
                if own is None:
                    mirror = (values - results[index, None, tile.columns]).exp_()
                    weights += mirror.mul_(outer[index, None, tile.columns])
            total = weights if total is None else total.add_(weights)
        if total is None:
            continue
        to_anchors[tile.rows].addmm_(total, rows[tile.columns])
        if tile.mirrored or own is not None:
            to_rows[tile.columns].addmm_(total.T, pairs.anchors[tile.rows])
    return to_rows.add_(to_anchors) if own is None else to_rows.index_add_(0, own, to_anchors)


class _Pairs:
    """What both passes need: the tiles, and the terms of the sums in a tile."""

    def __init__(
        self, rows: Tensor, labels: Tensor, own: Tensor | None, positives: list[bool], coefficients: list[float]
    ) -> None:
        self.rows, self.labels, self.own = rows, labels, own
        self.anchors = rows if own is None else rows[own]
        self.sums = list(zip(positives, coefficients, strict=True))
        # Up to here a sum of exponentials of c·s, s in [−1, 1], neither overflows nor loses its small terms.
        limit = 0.68 * math.log(torch.finfo(rows.dtype).max)
        self.bounded = [abs(coefficient) <= limit for coefficient in coefficients]

    def tiles(self) -> Iterator[Tile]:
        columns = _blocks(self.labels)
        if self.own is None:
            for position, (row, low, high) in enumerate(columns):
                for column, first, last in columns[position:]:
                    mirrored = row != column
                    pure = False if high < first else True if low == last and mirrored else None
                    yield Tile(row, column, pure, mirrored)
            return
        for row, low, high in _blocks(self.labels[self.own]):
            for column, first, last in columns:
                yield Tile(row, column, False if high < first or last < low else None, mirrored=False)

    def terms(self, tile: Tile) -> Iterator[tuple[int, Tensor]]:
        """Yields exp(c·s) of the pairs in each sum that the tile has a part in; c·s where exponentials may overflow."""
        if all(tile.pure is not None and positives != tile.pure for positives, _ in self.sums):
            return
        similarity = self.anchors[tile.rows] @ self.rows[tile.columns].T
        left_out = self._left_out(tile) if tile.pure is None else None
        for index, (positives, coefficient) in enumerate(self.sums):
            if tile.pure is not None and positives != tile.pure:
                continue
            values = similarity * coefficient
            if self.bounded[index]:
                values.exp_()
            if left_out is not None:
                values.masked_fill_(left_out[positives], 0 if self.bounded[index] else -torch.inf)
            yield index, values

    def _left_out(self, tile: Tile) -> dict[bool, Tensor]:
        """Returns which pairs are no positives (True) and which no negatives (False)."""
        all_rows = torch.arange(len(self.rows), device=self.rows.device)
        own = (all_rows if self.own is None else self.own)[tile.rows]
        same = self.labels[own][:, None] == self.labels[tile.columns][None, :]
        return {False: same, True: ~same | (own[:, None] == all_rows[tile.columns][None, :])}


def _blocks(labels: Tensor) -> list[tuple[slice, int, int]]:
    """Cuts sorted labels into blocks, each with its first and last label."""
    starts = range(0, len(labels), TILE)
    stops = [min(start + TILE, len(labels)) for start in starts]
    edges = labels[[*starts, *(stop - 1 for stop in stops)]].tolist()
    return list(zip(map(slice, starts, stops), edges[: len(stops)], edges[len(stops) :], strict=True))


@_forward.register_fake
def _(rows: Tensor, labels: Tensor, own: Tensor | None, positives: list[bool], coefficients: list[float]) -> Tensor:
    return rows.new_empty(len(coefficients), (rows if own is None else own).shape[0])


@_backward.register_fake
def _(gradient: Tensor, results: Tensor, rows: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(rows)


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        rows: Tensor, labels: Tensor, own: Tensor | None, positives: list[bool], coefficients: list[float]
    ) -> Tensor:
        result: Tensor = _forward(rows, labels, own, positives, coefficients)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        rows, labels, own, ctx.positives, ctx.coefficients = inputs
        ctx.save_for_backward(output, rows, labels, own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        results, rows, labels, own = ctx.saved_tensors
        # The caller may be inside autocast.
        with torch.autocast(gradient.device.type, enabled=False):
            passed = _Gradient.apply(gradient, results, rows, labels, own, ctx.positives, ctx.coefficients)
        return passed, None, None, None, None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        gradient: Tensor,
        results: Tensor,
        rows: Tensor,
        labels: Tensor,
        own: Tensor | None,
        positives: list[bool],
        coefficients: list[float],
    ) -> Tensor:
        result: Tensor = _backward(gradient, results, rows, labels, own, positives, coefficients)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        raise RuntimeError("Contrastive losses have no second derivatives here: call backward without create_graph.")
