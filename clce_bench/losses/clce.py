"""LACLN, the contrastive term of CLCE."""

from typing import Literal, Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, P, Pairs
from clce_bench.losses.temperature import at_temperature, temperature_of


class CLCE(ContrastiveLoss):
    r"""Label-aware contrastive loss with hard negatives (LACLN; Long et al., arXiv 2402.14551).

    .. math::
        \ell_i = -\log \frac{\frac{1}{|P_i|} \sum_{p \in P_i} e^{s_{ip}/\tau}}
                            {\sum_{p \in P_i} e^{s_{ip}/\tau} + H_i}, \qquad
        H_i = |N_i| \frac{\sum_{n \in N_i} e^{(1+\beta) s_{in}/\tau}}{\sum_{n \in N_i} e^{\beta s_{in}/\tau}}

    SCHaNe has the mean of the positives in the denominator, this one their sum. The equation follows a third party's
    re-implementation with its error removed (negatives only in :math:`H_i`); the printed one was not seen.

    Args:
        temperature: τ, scale of the similarities, > 0; ``learned`` from 0.5 on.
        beta: β, hardness of the weighting, ≥ 0; 0 weighs all negatives alike.
        options: ``reduction`` and ``gather``.
    """

    def __init__(
        self, temperature: float | Literal["learned"] = 0.5, beta: float = 1.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        check_hyperparameters({"beta": beta})
        self.temperature = temperature_of(temperature, start=0.5)
        self.beta = beta

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        pairs, tau = at_temperature(pairs, self.temperature)
        beta = self.beta
        positives, weighted, weights = pairs.logsumexp((P, 1 / tau), (N, (1 + beta) / tau), (N, beta / tau))
        hard = weighted - weights + pairs.log_count(N)
        return pairs.log_count(P) + F.softplus(hard - positives)
