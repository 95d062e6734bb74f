"""SupCon."""

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, P, Pairs
from clce_bench.losses.temperature import at_temperature, temperature_of


class SupCon(ContrastiveLoss):
    r"""Supervised contrastive loss (Khosla et al., arXiv 2004.11362), positives outside or inside the logarithm.

    .. math::
        \ell_i^\text{outside} =
            -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{s_{ip}/\tau}}{\sum_{a \ne i} e^{s_{ia}/\tau}}, \qquad
        \ell_i^\text{inside} =
            -\log \frac{\frac{1}{|P_i|} \sum_{p \in P_i} e^{s_{ip}/\tau}}{\sum_{a \ne i} e^{s_{ia}/\tau}}

    Not scaled by τ over a base temperature, which SupCon's released code does.

    Args:
        temperature: τ, scale of the similarities, > 0; ``learned`` from 0.1 on.
        positives: ``outside`` (the better form in the paper) or ``inside``.
        options: ``reduction`` and ``gather``.
    """

    def __init__(
        self,
        temperature: float | Literal["learned"] = 0.1,
        positives: Literal["outside", "inside"] = "outside",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(**options)
        check_hyperparameters({"positives": positives})
        self.temperature = temperature_of(temperature, start=0.1)
        self.positives = positives

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        pairs, tau = at_temperature(pairs, self.temperature)
        positives, negatives = pairs.logsumexp((P, 1 / tau), (N, 1 / tau))
        if self.positives == "inside":
            return pairs.log_count(P) + F.softplus(negatives - positives)
        return torch.logaddexp(positives, negatives) - pairs.mean_positive() / tau
