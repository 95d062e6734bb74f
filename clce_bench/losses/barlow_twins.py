"""Barlow Twins."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.views import ViewLoss, ViewOptions, off_diagonal_squares, product


class BarlowTwins(ViewLoss):
    r"""Redundancy reduction between two views (Zbontar et al., arXiv 2103.03230).

    .. math::
        \ell = \sum_k (1 - C_{kk})^2 + w \sum_k \sum_{l \ne k} C_{kl}^2, \qquad
        C_{kl} = \frac{1}{n} \sum_{i=1}^n \hat z_{ik} \hat z'_{il}

    where :math:`\hat z` and :math:`\hat z'` are two views, each dimension with mean 0 and variance 1 over the batch.
    Rows are scaled to one length before, which the paper does not do. ``labels`` say which rows are views of one image.

    Args:
        redundancy: w, weight of the off-diagonal terms, ≥ 0; the paper's λ.
        options: ``gather``.
    """

    def __init__(self, redundancy: float = 0.005, **options: Unpack[ViewOptions]) -> None:
        super().__init__(**options)
        check_hyperparameters({"redundancy": redundancy})
        self.redundancy = redundancy

    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns the loss of two views, each (images, dimensions)."""
        first, second = (F.batch_norm(view, None, None, training=True) for view in (one, other))
        correlation = product(first.T, second) / len(one)
        return (1 - correlation.diagonal()).pow(2).sum() + self.redundancy * off_diagonal_squares(correlation)
