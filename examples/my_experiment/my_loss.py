"""SupCon with a margin: positives count as less similar than they are, so they must come closer than the negatives."""

import torch

from clce_bench.losses import ContrastiveLoss, N, P, Pairs


class MarginSupCon(ContrastiveLoss):
    def __init__(self, temperature: float = 0.1, margin: float = 0.2) -> None:
        super().__init__()
        self.temperature, self.margin = temperature, margin

    def per_anchor(self, pairs: Pairs) -> torch.Tensor:
        tau, margin = self.temperature, self.margin
        positives, negatives = pairs.logsumexp((P, 1 / tau), (N, 1 / tau))
        return torch.logaddexp(positives - margin / tau, negatives) - (pairs.mean_positive() - margin) / tau
