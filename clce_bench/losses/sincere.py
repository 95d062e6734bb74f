"""SINCERE."""

from typing import Unpack

from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, Pairs


class SINCERE(ContrastiveLoss):
    r"""Supervised InfoNCE (Feeney & Hughes, arXiv 2309.14277): a positive competes with negatives alone.

    .. math::
        \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i}
            \log \frac{e^{s_{ip}/\tau}}{e^{s_{ip}/\tau} + \sum_{n \in N_i} e^{s_{in}/\tau}}

    In SupCon's denominator are the other positives too, which pushes images of a class apart.

    Args:
        temperature: τ, scale of the similarities, > 0.
        options: ``reduction`` and ``gather``.
    """

    def __init__(self, temperature: float = 0.1, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        check_hyperparameters({"temperature": temperature})
        self.temperature = temperature

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        (negatives,) = pairs.logsumexp((N, 1 / self.temperature))
        return pairs.mean_positive_softplus(negatives, 1 / self.temperature)
