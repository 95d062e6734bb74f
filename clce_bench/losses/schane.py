"""SCHaNe."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, P, Pairs


class SCHaNe(ContrastiveLoss):
    r"""Mean positive against hardness-weighted negatives (Long et al., arXiv 2308.14893).

    .. math::
        \ell_i = -\log \frac{\bar p_i}{\bar p_i + H_i}, \qquad
        \bar p_i = \frac{1}{|P_i|} \sum_{p \in P_i} e^{s_{ip}/\tau}, \qquad
        H_i = |N_i| \frac{\sum_{n \in N_i} e^{(1+\beta) s_{in}/\tau}}{\sum_{n \in N_i} e^{\beta s_{in}/\tau}}

    The equation follows the authors' released code, where the weights carry a gradient; the printed one was not seen.

    Args:
        temperature: τ, scale of the similarities, > 0.
        beta: β, hardness of the weighting, ≥ 0; 0 weighs all negatives alike.
        options: ``reduction`` and ``gather``.
    """

    def __init__(self, temperature: float = 0.5, beta: float = 1.0, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        check_hyperparameters({"temperature": temperature, "beta": beta})
        self.temperature = temperature
        self.beta = beta

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        tau, beta = self.temperature, self.beta
        positives, weighted, weights = pairs.logsumexp((P, 1 / tau), (N, (1 + beta) / tau), (N, beta / tau))
        hard = weighted - weights + pairs.log_count(N)
        return F.softplus(hard - positives + pairs.log_count(P))
