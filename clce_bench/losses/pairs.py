"""Sums over an anchor's positives and negatives, from which every contrastive loss here is made."""

import copy
from abc import ABC, abstractmethod
from numbers import Real
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clce_bench.losses.positive_softplus import positive_softplus
from clce_bench.losses.tiles import NEG_INF, PairKind, is_bounded, pair_logsumexp

P, N = PairKind.POSITIVES, PairKind.NEGATIVES


class Pairs(ABC):
    """Statistics of the cosine similarities s_ij of each anchor i to the other rows j.

    The positives of an anchor are the other rows with its label, its negatives the rows with another label; the anchor
    itself is neither.
    """

    dtype: torch.dtype
    """Of all statistics but counts."""

    @abstractmethod
    def count(self, kind: PairKind) -> Tensor:
        """Returns the number of rows of a kind for each anchor, (anchors,), integer."""

    @abstractmethod
    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (anchors,); 0 where there are none."""

    @abstractmethod
    def scaled(self, factor: Tensor) -> Self:
        """Returns the same pairs with every similarity times a positive scalar, through which gradients flow."""

    def mean_positive_softplus(self, offsets: Tensor, coefficient: float) -> Tensor:
        """Returns the mean over the positives p of log(1 + exp(offset_i − coefficient · s_ip)), (anchors,).

        Args:
            offsets: (anchors,).
            coefficient: > 0.
        """
        return self._positive_softplus(offsets, coefficient) / self.count(P).clamp(min=1)

    @abstractmethod
    def _positive_softplus(self, offsets: Tensor, coefficient: float) -> Tensor: ...

    def logsumexp(self, *terms: tuple[PairKind, float]) -> tuple[Tensor, ...]:
        """Returns log Σ_j exp(coefficient · s_ij) over the rows j of a kind, for each (kind, coefficient), (anchors,).

        Ask for all that a loss needs in one call: they are computed together. An empty sum gives a very negative
        number with a zero gradient.

        Raises:
            TypeError: a coefficient is no number.
        """
        if not all(isinstance(coefficient, Real) for _, coefficient in terms):
            raise TypeError("logsumexp: coefficients are numbers here: a temperature cannot be learnt.")
        return self._logsumexp([(kind, float(coefficient)) for kind, coefficient in terms])

    @abstractmethod
    def _logsumexp(self, terms: list[tuple[PairKind, float]]) -> tuple[Tensor, ...]: ...

    def log_count(self, kind: PairKind) -> Tensor:
        """Returns the logarithm of :meth:`count`, (anchors,), floating; a very negative number where there are none."""
        return self.count(kind).to(self.dtype).log().clamp(min=NEG_INF)


class TiledPairs(Pairs):
    """Statistics computed tile by tile, in memory that grows linearly with the rows.

    Args:
        rows: unit vectors, (rows, dimensions), float32 or float64, sorted by label.
        labels: (rows,), integer, rising.
        anchor_index: which rows are the anchors, (anchors,), rising; ``None`` for all.
    """

    def __init__(self, rows: Tensor, labels: Tensor, anchor_index: Tensor | None = None) -> None:
        self.rows, self.labels, self.anchor_index = rows, labels, anchor_index
        self.dtype = rows.dtype
        first, last = (torch.searchsorted(labels, labels, right=right) for right in (False, True))
        self._members, self._first = self._of_anchors(last - first), first

    def _of_anchors(self, values: Tensor) -> Tensor:
        return values if self.anchor_index is None else values[self.anchor_index]

    def count(self, kind: PairKind) -> Tensor:
        """Returns the number of rows of a kind for each anchor, (anchors,), integer."""
        return self._members - 1 if kind is P else self.rows.shape[0] - self._members

    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (anchors,); 0 where there are none."""
        # Σ_p z_i·z_p = z_i · (sum of its class − z_i): no pairs needed. A class's sum is kept at its first row.
        class_sums = torch.zeros_like(self.rows).index_add(0, self._first, self.rows)
        anchors, sums = self._of_anchors(self.rows), class_sums[self._of_anchors(self._first)]
        return (anchors * (sums - anchors)).sum(dim=1) / self.count(P).clamp(min=1)

    def scaled(self, factor: Tensor) -> Self:
        """Returns the same pairs with every similarity times a positive scalar, through which gradients flow."""
        result = copy.copy(self)
        result.rows = self.rows * factor.sqrt()  # Of each of a pair's rows.
        return result

    def _positive_softplus(self, offsets: Tensor, coefficient: float) -> Tensor:
        return positive_softplus(self.rows, offsets, self.labels, self.anchor_index, coefficient)

    def _logsumexp(self, terms: list[tuple[PairKind, float]]) -> tuple[Tensor, ...]:
        return tuple(pair_logsumexp(self.rows, self.labels, self.anchor_index, terms).unbind())


class DensePairs(Pairs):
    """The same statistics from a whole similarity matrix, with a gradient for every pair: fastest for small batches.

    Args:
        similarity: s_ij in [−1, 1], (anchors, rows).
        labels: (rows,), integer, in any order.
        anchor_index: which rows are the anchors, (anchors,); ``None`` for all.
    """

    def __init__(self, similarity: Tensor, labels: Tensor, anchor_index: Tensor | None = None) -> None:
        self.similarity = similarity
        self.dtype = similarity.dtype
        if anchor_index is None:
            same = labels[:, None] == labels
            not_positive = (~same).fill_diagonal_(True)
        else:
            same = labels[anchor_index, None] == labels
            not_positive = (~same).scatter(1, anchor_index[:, None], True)
        self._left_out = {P: not_positive, N: same}
        self._positives = same.sum(dim=1) - 1

    def count(self, kind: PairKind) -> Tensor:
        """Returns the number of rows of a kind for each anchor, (anchors,), integer."""
        return self._positives if kind is P else self.similarity.shape[1] - 1 - self._positives

    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (anchors,); 0 where there are none."""
        return self.similarity.masked_fill(self._left_out[P], 0).sum(dim=1) / self.count(P).clamp(min=1)

    def scaled(self, factor: Tensor) -> Self:
        """Returns the same pairs with every similarity times a positive scalar, through which gradients flow."""
        result = copy.copy(self)
        result.similarity = self.similarity * factor
        return result

    def _positive_softplus(self, offsets: Tensor, coefficient: float) -> Tensor:
        values = F.softplus(offsets[:, None] - coefficient * self.similarity)
        return values.masked_fill(self._left_out[P], 0).sum(dim=1)

    def _logsumexp(self, terms: list[tuple[PairKind, float]]) -> tuple[Tensor, ...]:
        left_out = torch.stack([self._left_out[kind] for kind, _ in terms])
        coefficients = [coefficient for _, coefficient in terms]
        if len(set(coefficients)) == 1:
            values = self.similarity * coefficients[0]
        else:
            values = self.similarity * self.similarity.new_tensor(coefficients)[:, None, None]
        if not all(is_bounded(coefficient, self.dtype) for coefficient in coefficients):
            return values.masked_fill(left_out, NEG_INF).logsumexp(dim=2).unbind()
        sums = values.exp().masked_fill(left_out, 0).sum(dim=2)
        empty = sums == 0
        return sums.masked_fill(empty, 1).log().masked_fill(empty, NEG_INF).unbind()
