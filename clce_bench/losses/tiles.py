"""Row-wise log-sum-exps over pairs of rows, computed tile by tile: memory grows with the rows, not with their pairs.

Rows come sorted by label, so almost every tile holds negatives only and needs no mask. Similarity is symmetric, so a
tile serves the anchors on both its sides. The backward pass computes the tiles again instead of keeping them.
"""

import math
from collections.abc import Iterator
from enum import Flag, auto
from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE = {"cpu": 512, "cuda": 4096}
"""Rows and columns of a tile by kind of device; other kinds have the processor's.

On a processor its few matrices stay in the cache; on a GPU launches are few, and a matrix has 64 MiB.
"""

NEG_INF = -1e9
"""The log-sum-exp over an empty set: finite, so that what is derived from it has a zero gradient instead of NaN."""


class PairKind(Flag):
    """Which pairs a sum runs over, or a tile holds."""

    POSITIVES = auto()
    NEGATIVES = auto()
    MIXED = POSITIVES | NEGATIVES


class Tile(NamedTuple):
    """A block of pairs.

    Attributes:
        rows: of the anchors.
        columns: of the rows they are compared with.
        kind: of its pairs; a tile with rows paired with themselves is mixed.
        mirrored: it also stands for the block with rows and columns exchanged.
    """

    rows: slice
    columns: slice
    kind: PairKind
    mirrored: bool


def for_device(sizes: dict[str, int], device: torch.device) -> int:
    """Returns the size for a device, :data:`TILE` for instance."""
    return sizes.get(device.type, sizes["cpu"])


def is_bounded(coefficient: float, dtype: torch.dtype) -> bool:
    """Says whether sums of exp(coefficient · s), s in [−1, 1], neither overflow nor lose their small terms."""
    return abs(coefficient) <= 0.68 * math.log(torch.finfo(dtype).max)


def pair_logsumexp(
    rows: Tensor, labels: Tensor, anchor_index: Tensor | None, terms: list[tuple[PairKind, float]]
) -> Tensor:
    """Computes log Σ_j exp(c · z_i·z_j) over the positives or the negatives j of each anchor i.

    Args:
        rows: unit vectors z, (rows, dimensions), float32 or float64, sorted by label.
        labels: (rows,), integer, rising.
        anchor_index: which rows are the anchors, (anchors,), rising; ``None`` for all.
        terms: the kind of the pairs and the coefficient c of each wanted sum.

    Returns:
        (terms, anchors); :data:`NEG_INF` where there is no such pair.
    """
    kinds, coefficients = [kind.value for kind, _ in terms], [coefficient for _, coefficient in terms]
    result: Tensor = _LogSumExp.apply(rows, labels, anchor_index, kinds, coefficients)
    return result


# Both passes are operators of their own, so that torch.compile takes each as one step. Their signatures are schemas.
@torch.library.custom_op("clce_bench::pair_logsumexp", mutates_args=())
def _forward(
    rows: Tensor, labels: Tensor, anchor_index: Tensor | None, kinds: list[int], coefficients: list[float]
) -> Tensor:
    pairs = _Tiling(rows, labels, anchor_index, kinds, coefficients)
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
    return sums.clamp_(min=NEG_INF)


@torch.library.custom_op("clce_bench::pair_logsumexp_backward", mutates_args=())
def _backward(
    gradient: Tensor,
    results: Tensor,
    rows: Tensor,
    labels: Tensor,
    anchor_index: Tensor | None,
    kinds: list[int],
    coefficients: list[float],
) -> Tensor:
    pairs = _Tiling(rows, labels, anchor_index, kinds, coefficients)
    outer = gradient * torch.tensor(coefficients, dtype=rows.dtype, device=rows.device)[:, None]
    # d lse_i / d s_ij = c · exp(c·s_ij) / Σ exp: per row one number, where exponentials are bounded.
    shares = torch.where(results > NEG_INF, outer * (-results).exp(), 0)
    to_rows, to_anchors = torch.zeros_like(rows), torch.zeros_like(pairs.anchors)
    for tile in pairs.tiles():
        total = None
        for index, values in pairs.terms(tile):
            if pairs.bounded[index]:
                share = shares[index, tile.rows, None]
                weights = (share + shares[index, None, tile.columns] if anchor_index is None else share) * values
            else:
                weights = (values - results[index, tile.rows, None]).exp_() * outer[index, tile.rows, None]
                if anchor_index is None:
                    mirror = (values - results[index, None, tile.columns]).exp_()
                    weights += mirror.mul_(outer[index, None, tile.columns])
            total = weights if total is None else total.add_(weights)
        if total is None:
            continue
        to_anchors[tile.rows].addmm_(total, rows[tile.columns])
        if tile.mirrored or anchor_index is not None:
            to_rows[tile.columns].addmm_(total.T, pairs.anchors[tile.rows])
    return to_rows.add_(to_anchors) if anchor_index is None else to_rows.index_add_(0, anchor_index, to_anchors)


class _Tiling:
    """What both passes need: the tiles, and the terms of the sums in a tile. Takes what the operators take."""

    def __init__(
        self, rows: Tensor, labels: Tensor, anchor_index: Tensor | None, kinds: list[int], coefficients: list[float]
    ) -> None:
        self.rows, self.labels = rows, labels
        self.anchors = rows if anchor_index is None else rows[anchor_index]
        self.symmetric = anchor_index is None
        self.anchor_index = torch.arange(len(rows), device=rows.device) if anchor_index is None else anchor_index
        self.sums = list(zip(map(PairKind, kinds), coefficients, strict=True))
        self.bounded = [is_bounded(coefficient, rows.dtype) for coefficient in coefficients]

    def tiles(self) -> Iterator[Tile]:
        columns = self._blocks(self.labels)
        if not self.symmetric:
            for row, low, high in self._blocks(self.labels[self.anchor_index]):
                for column, first, last in columns:
                    apart = high < first or last < low
                    yield Tile(row, column, PairKind.NEGATIVES if apart else PairKind.MIXED, mirrored=False)
            return
        for position, (row, low, high) in enumerate(columns):
            yield Tile(row, row, PairKind.MIXED, mirrored=False)
            for column, first, last in columns[position + 1 :]:
                kind = PairKind.POSITIVES if low == last else PairKind.NEGATIVES if high < first else PairKind.MIXED
                yield Tile(row, column, kind, mirrored=True)

    def _blocks(self, labels: Tensor) -> list[tuple[slice, int, int]]:
        """Cuts sorted labels into blocks, each with its first and last label."""
        size = for_device(TILE, labels.device)
        starts = range(0, len(labels), size)
        stops = [min(start + size, len(labels)) for start in starts]
        edges = labels[[*starts, *(stop - 1 for stop in stops)]].tolist()
        return list(zip(map(slice, starts, stops), edges[: len(stops)], edges[len(stops) :], strict=True))

    def terms(self, tile: Tile) -> Iterator[tuple[int, Tensor]]:
        """Yields exp(c·s) of the pairs in each sum that the tile has a part in; c·s where exponentials may overflow."""
        present = [(index, *term) for index, term in enumerate(self.sums) if term[0] in tile.kind]
        if not present:
            return
        similarity = self.anchors[tile.rows] @ self.rows[tile.columns].T
        left_out = self._left_out(tile) if tile.kind is PairKind.MIXED else None
        for index, kind, coefficient in present:
            values = similarity * coefficient
            if self.bounded[index]:
                values.exp_()
            if left_out is not None:
                values.masked_fill_(left_out[kind], 0 if self.bounded[index] else -torch.inf)
            yield index, values

    def _left_out(self, tile: Tile) -> dict[PairKind, Tensor]:
        """Returns which pairs are not of each kind."""
        anchors, others = self.anchor_index[tile.rows], torch.arange(len(self.rows), device=self.rows.device)
        same = self.labels[anchors][:, None] == self.labels[tile.columns][None, :]
        itself = anchors[:, None] == others[tile.columns][None, :]
        return {PairKind.POSITIVES: ~same | itself, PairKind.NEGATIVES: same}


@_forward.register_fake
def _(rows: Tensor, labels: Tensor, anchor_index: Tensor | None, kinds: list[int], coefficients: list[float]) -> Tensor:
    return rows.new_empty(len(coefficients), (rows if anchor_index is None else anchor_index).shape[0])


@_backward.register_fake
def _(gradient: Tensor, results: Tensor, rows: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(rows)


# Operators can also be given a gradient by ``register_autograd``, in fewer lines; but then torch.func.grad fails.
class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        result: Tensor = _forward(*arguments)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        rows, labels, anchor_index, ctx.kinds, ctx.coefficients = inputs
        ctx.save_for_backward(output, rows, labels, anchor_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        results, rows, labels, anchor_index = ctx.saved_tensors
        # The caller may be inside autocast.
        with torch.autocast(gradient.device.type, enabled=False):
            passed = _Gradient.apply(gradient, results, rows, labels, anchor_index, ctx.kinds, ctx.coefficients)
        return passed, None, None, None, None


class _Gradient(torch.autograd.Function):
    @staticmethod
    # Spelled out: torch.compile cannot trace a function with *arguments here.
    def forward(
        gradient: Tensor,
        results: Tensor,
        rows: Tensor,
        labels: Tensor,
        anchor_index: Tensor | None,
        kinds: list[int],
        coefficients: list[float],
    ) -> Tensor:
        result: Tensor = _backward(gradient, results, rows, labels, anchor_index, kinds, coefficients)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        raise RuntimeError("Contrastive losses have no second derivatives here: call backward without create_graph.")
