"""What all supervised contrastive losses here share: sums over an anchor's positives and negatives."""

from abc import ABC, abstractmethod
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mask(Enum):
    """Which of the other rows a sum runs over."""

    POSITIVES = "positives"
    NEGATIVES = "negatives"


P, N = Mask.POSITIVES, Mask.NEGATIVES

# Stands for minus infinity inside log-sum-exps: an empty sum then has a zero gradient instead of NaN.
_NOTHING = -1e9


class Pairs:
    """Row statistics of the cosine similarities s_ij between the rows of a batch.

    The positives of anchor i are the other rows with its label, its negatives the rows with another label; the anchor
    itself is neither.

    Args:
        embeddings: (rows, dimensions), any float type; normalised here, in float32 at least.
        labels: (rows,), integer.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor) -> None:
        working = torch.promote_types(embeddings.dtype, torch.float32)
        rows = F.normalize(embeddings.to(working), dim=1)
        self.similarity = rows @ rows.T
        same = labels[:, None] == labels[None, :]
        self.masks = {P: same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), N: ~same}

    def count(self, mask: Mask) -> Tensor:
        """Returns the number of rows in the mask for each anchor, (rows,)."""
        return self.masks[mask].sum(dim=1)

    def log_count(self, mask: Mask) -> Tensor:
        """Returns the logarithm of :meth:`count`, (rows,); −∞ where there are none."""
        return self.count(mask).to(self.similarity.dtype).log()

    def mean_positive(self) -> Tensor:
        """Returns the mean similarity to the positives, (rows,); 0 where there are none."""
        total = (self.similarity * self.masks[P]).sum(dim=1)
        return total / self.count(P).clamp(min=1)

    def logsumexp(self, *terms: tuple[Mask, float]) -> tuple[Tensor, ...]:
        """Returns log Σ_{j ∈ mask} exp(coefficient · s_ij) for each (mask, coefficient), each (rows,).

        An empty sum gives a very negative number with a zero gradient.
        """
        return tuple(
            torch.logsumexp((self.similarity * coefficient).masked_fill(~self.masks[mask], _NOTHING), dim=1)
            for mask, coefficient in terms
        )


class ContrastiveLoss(nn.Module, ABC):
    """Base of the losses: subclasses say what one anchor costs.

    The loss is the mean over the anchors that have a positive. Without any such anchor it is 0 with a zero gradient.
    """

    @abstractmethod
    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (rows,); values of anchors without a positive are ignored."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            embeddings: (rows, dimensions), any float type, not necessarily normalised.
            labels: (rows,), integer; all views of an image carry its label.

        Returns:
            A scalar.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            pairs = Pairs(embeddings, labels)
            has_positive = pairs.count(P) > 0
            values = torch.where(has_positive, self.per_anchor(pairs), 0.0)
            return values.sum() / has_positive.sum().clamp(min=1)
