"""Sums over an anchor's positives and negatives, from which every contrastive loss here is made."""

from abc import ABC, abstractmethod
from enum import Enum

import torch
from torch import Tensor

from clce_bench.losses.tiles import NOTHING, pair_logsumexp


class Mask(Enum):
    """Which of the other rows a sum runs over."""

    POSITIVES = "positives"
    NEGATIVES = "negatives"


P, N = Mask.POSITIVES, Mask.NEGATIVES


class Pairs(ABC):
    """Statistics of the cosine similarities s_ij of each anchor i to the other rows j.

    The positives of an anchor are the other rows with its label, its negatives the rows with another label; the anchor
    itself is neither.
    """

    @abstractmethod
    def count(self, mask: Mask) -> Tensor:
        """Returns the number of rows in the mask for each anchor, (anchors,), integer."""

    @abstractmethod
    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (anchors,); 0 where there are none."""

    @abstractmethod
    def logsumexp(self, *terms: tuple[Mask, float | Tensor]) -> tuple[Tensor, ...]:
        """Returns log Σ_{j ∈ mask} exp(coefficient · s_ij) for each (mask, coefficient), each (anchors,).

        Ask for all that a loss needs in one call: they are computed together. An empty sum gives a very negative
        number with a zero gradient. Gradients flow to the embeddings, not to the coefficients.

        Raises:
            TypeError: a coefficient requires a gradient.
        """

    def log_count(self, mask: Mask) -> Tensor:
        """Returns the logarithm of :meth:`count`, (anchors,), floating; a very negative number where there are none."""
        return self.count(mask).to(self.dtype).log().clamp(min=NOTHING)

    dtype: torch.dtype
    """Of all statistics but counts."""


class TiledPairs(Pairs):
    """Statistics computed tile by tile, in memory that grows linearly with the rows.

    Args:
        rows: unit vectors, (rows, dimensions), float32 or float64, sorted by label.
        labels: (rows,), integer, rising.
        own: which rows are the anchors, (anchors,), rising; ``None`` for all.
    """

    def __init__(self, rows: Tensor, labels: Tensor, own: Tensor | None = None) -> None:
        self.rows, self.labels, self.own = rows, labels, own
        self.dtype = rows.dtype
        first, last = (torch.searchsorted(labels, labels, right=right) for right in (False, True))
        self._members, self._first = self._of_anchors(last - first), first

    def _of_anchors(self, values: Tensor) -> Tensor:
        return values if self.own is None else values[self.own]

    def count(self, mask: Mask) -> Tensor:
        """Returns the number of rows in the mask for each anchor, (anchors,), integer."""
        return self._members - 1 if mask is P else self.rows.shape[0] - self._members

    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (anchors,); 0 where there are none."""
        # Σ_p z_i·z_p = z_i · (sum of its class − z_i): no pairs needed. A class's sum is kept at its first row.
        class_sums = torch.zeros_like(self.rows).index_add(0, self._first, self.rows)
        own, sums = self._of_anchors(self.rows), class_sums[self._of_anchors(self._first)]
        return (own * (sums - own)).sum(dim=1) / self.count(P).clamp(min=1)

    def logsumexp(self, *terms: tuple[Mask, float | Tensor]) -> tuple[Tensor, ...]:
        """Returns log Σ_{j ∈ mask} exp(coefficient · s_ij) for each (mask, coefficient), each (anchors,)."""
        if any(isinstance(coefficient, Tensor) and coefficient.requires_grad for _, coefficient in terms):
            raise TypeError("logsumexp: coefficients have no gradient here: a temperature cannot be learnt.")
        positives, coefficients = [mask is P for mask, _ in terms], [float(coefficient) for _, coefficient in terms]
        return tuple(pair_logsumexp(self.rows, self.labels, self.own, positives, coefficients).unbind())


class DensePairs(Pairs):
    """The same statistics from a whole similarity matrix: the plain formula, and a gradient for every pair.

    Args:
        similarity: s_ij, (rows, rows).
        labels: (rows,), integer, in any order.
    """

    def __init__(self, similarity: Tensor, labels: Tensor) -> None:
        self.similarity = similarity
        self.dtype = similarity.dtype
        same = labels[:, None] == labels[None, :]
        self._masks = {P: same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), N: ~same}

    def count(self, mask: Mask) -> Tensor:
        """Returns the number of rows in the mask for each anchor, (rows,), integer."""
        return self._masks[mask].sum(dim=1)

    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (rows,); 0 where there are none."""
        return (self.similarity * self._masks[P]).sum(dim=1) / self.count(P).clamp(min=1)

    def logsumexp(self, *terms: tuple[Mask, float | Tensor]) -> tuple[Tensor, ...]:
        """Returns log Σ_{j ∈ mask} exp(coefficient · s_ij) for each (mask, coefficient), each (rows,)."""
        return tuple(
            torch.logsumexp((self.similarity * coefficient).masked_fill(~self._masks[mask], NOTHING), dim=1)
            for mask, coefficient in terms
        )
