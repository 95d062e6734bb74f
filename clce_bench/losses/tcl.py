"""Tuned contrastive loss."""

import math
from typing import Unpack

import torch
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, P, Pairs


class TCL(ContrastiveLoss):
    r"""Supervised contrastive loss with tuned gradients (Animesh & Chandraker, arXiv 2305.10675).

    .. math::
        \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{s_{ip}/\tau}}{D_i}, \qquad
        D_i = \sum_{p \in P_i} e^{s_{ip}/\tau} + k_1 \sum_{p \in P_i} e^{-s_{ip}} + k_2 \sum_{n \in N_i} e^{s_{in}/\tau}

    The equation follows the authors' released code, where the :math:`k_1` term has no temperature.

    Args:
        temperature: τ, scale of the similarities, > 0.
        k1: weight of the term that strengthens the gradient from hard positives, ≥ 0.
        k2: weight of the negatives, ≥ 0; ``k1=0, k2=1`` is SupCon.
        options: ``reduction`` and ``gather``.
    """

    def __init__(
        self, temperature: float = 0.1, k1: float = 5000.0, k2: float = 1.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        check_hyperparameters({"temperature": temperature, "k1": k1, "k2": k2})
        self.temperature = temperature
        self.k1 = k1
        self.k2 = k2

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        tau = self.temperature
        positives, repelled, negatives = pairs.logsumexp((P, 1 / tau), (P, -1.0), (N, 1 / tau))
        denominator = torch.stack([positives, repelled + _log(self.k1), negatives + _log(self.k2)]).logsumexp(dim=0)
        return denominator - pairs.mean_positive() / tau


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf
