"""SupCon."""

import torch
from torch import Tensor

from clce_bench.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, P, Pairs


class SupCon(ContrastiveLoss):
    r"""Supervised contrastive loss, positives outside the logarithm (Khosla et al., arXiv 2004.11362).

    .. math::
        \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{s_{ip}/\tau}}{\sum_{a \ne i} e^{s_{ia}/\tau}}

    Not scaled by τ over a base temperature, which SupCon's released code does.

    Args:
        temperature: τ, scale of the similarities, > 0.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_hyperparameters({"temperature": temperature})
        self.temperature = temperature

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (rows,)."""
        tau = self.temperature
        positives, negatives = pairs.logsumexp((P, 1 / tau), (N, 1 / tau))
        return torch.logaddexp(positives, negatives) - pairs.mean_positive() / tau
