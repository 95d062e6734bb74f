"""Contrastive loss with hard negatives, debiased."""

import math
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.core import ContrastiveLoss, N, Options, P, Pairs


class HCL(ContrastiveLoss):
    r"""Hard, debiased negatives without labels (Robinson et al., ICLR 2021).

    .. math::
        \ell_i = -\log \frac{\bar p_i}{\bar p_i + G_i}, \qquad
        G_i = \max\left(\frac{H_i - \tau^+ |N_i| \bar p_i}{1 - \tau^+},\; |N_i| e^{-1/\tau}\right), \qquad
        H_i = |N_i| \frac{\sum_{n \in N_i} e^{(1+\beta) s_{in}/\tau}}{\sum_{n \in N_i} e^{\beta s_{in}/\tau}}

    The equation follows the authors' released code, from which the paper's pseudocode differs. There, an anchor has one
    positive, the other view; with several, :math:`\bar p_i` is the mean of their :math:`e^{s_{ip}/\tau}`, as in SCHaNe,
    which is this loss at :math:`\tau^+ = 0`. ``labels`` say which rows are views of one image.

    Args:
        temperature: τ, scale of the similarities, > 0.
        beta: β, hardness of the weighting, ≥ 0; 0 weighs all negatives alike.
        tau_plus: τ⁺, share of the negatives that are thought to be of the anchor's class, in [0, 1).
        options: ``reduction`` and ``gather``.
    """

    self_supervised: ClassVar[bool] = True

    def __init__(
        self, temperature: float = 0.5, beta: float = 1.0, tau_plus: float = 0.1, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        check_hyperparameters({"temperature": temperature, "beta": beta, "tau_plus": tau_plus})
        self.temperature = temperature
        self.beta = beta
        self.tau_plus = tau_plus

    def per_anchor(self, pairs: Pairs) -> Tensor:
        """Returns the loss of each anchor, (anchors,)."""
        tau, beta, prior = self.temperature, self.beta, self.tau_plus
        positives, weighted, weights = pairs.logsumexp((P, 1 / tau), (N, (1 + beta) / tau), (N, beta / tau))
        positive = positives - pairs.log_count(P)
        negative = weighted - weights
        # Relative to H: what is left of it without the false negatives, and the least that may be left.
        log_prior = math.log(prior) if prior else -math.inf
        left = -torch.expm1((log_prior + positive - negative).clamp(max=0))
        least = (1 - prior) * torch.exp(-1 / tau - negative)
        left = torch.maximum(left, least).clamp(min=torch.finfo(left.dtype).tiny)
        return F.softplus(pairs.log_count(N) + negative + left.log() - math.log(1 - prior) - positive)
