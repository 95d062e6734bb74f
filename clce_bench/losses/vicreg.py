"""VICReg."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.views import ViewLoss, ViewOptions, off_diagonal_squares, product


class VICReg(ViewLoss):
    r"""Variance, invariance and covariance of two views (Bardes et al., arXiv 2105.04906).

    .. math::
        \ell = \frac{a}{nd} \sum_i \|z_i - z'_i\|^2 + \frac{b}{2} \left(v(Z) + v(Z')\right)
             + c \left(u(Z) + u(Z')\right)

    .. math::
        v(Z) = \frac{1}{d} \sum_{k=1}^d \max\left(0,\; 1 - \sqrt{\operatorname{Var} z_k + 10^{-4}}\right), \qquad
        u(Z) = \frac{1}{d} \sum_k \sum_{l \ne k} \operatorname{Cov}(z_k, z_l)^2

    The half before the variances and the mean over dimensions follow the authors' released code. Rows are scaled to
    length :math:`\sqrt d` before, which the paper does not do: of unit length, as they come here, no dimension could
    have the standard deviation 1. ``labels`` say which rows are views of one image.

    Args:
        invariance: a, weight of the distance between views, ≥ 0.
        variance: b, weight of the variances, ≥ 0.
        covariance: c, weight of the covariances, ≥ 0.
        options: ``gather``.
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        **options: Unpack[ViewOptions],
    ) -> None:
        super().__init__(**options)
        check_hyperparameters({"invariance": invariance, "variance": variance, "covariance": covariance})
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns the loss of two views, each (images, dimensions)."""
        spread = (_variance_term(one) + _variance_term(other)) / 2
        redundancy = _covariance_term(one) + _covariance_term(other)
        return self.invariance * F.mse_loss(one, other) + self.variance * spread + self.covariance * redundancy


def _variance_term(view: Tensor) -> Tensor:
    return F.relu(1 - (view.var(dim=0) + 1e-4).sqrt()).mean()


def _covariance_term(view: Tensor) -> Tensor:
    centred = view - view.mean(dim=0)
    covariance = product(centred.T, centred) / (len(view) - 1)
    return off_diagonal_squares(covariance) / view.shape[1]
