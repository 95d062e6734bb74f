"""Decoupled contrastive loss."""

from typing import ClassVar, Unpack

from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, Pairs


class DCL(ContrastiveLoss):
    r"""NT-Xent without the positive in its denominator (Yeh et al., arXiv 2110.06848).

    .. math::
        \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} s_{ip}/\tau + \log \sum_{n \in N_i} e^{s_{in}/\tau}

    With two views there is one positive, as in the paper. ``labels`` say which rows are views of one image. The second
    term is 0 where there is no negative.

    Args:
        temperature: τ, scale of the similarities, > 0.
        options: ``reduction`` and ``gather``.
    """

    self_supervised: ClassVar[bool] = True

    def __init__(self, temperature: float = 0.1, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        check_hyperparameters({"temperature": temperature})
        self.temperature = temperature

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        (negatives,) = pairs.logsumexp((N, 1 / self.temperature))
        return negatives.masked_fill(pairs.count(N) == 0, 0) - pairs.mean_positive() / self.temperature
