"""BYOL."""

import math
from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.predictor import predictor
from clce_bench.losses.targets import TargetLoss
from clce_bench.losses.views import ViewOptions


class BYOL(TargetLoss):
    r"""Bootstrap your own latent: each view predicts what a momentum encoder makes of another (Grill et al., arXiv
    2006.07733).

    .. math:: \ell = \frac{1}{n} \sum_i \left(2 - 2 \cos(h(z_i), \xi'_i)\right)

    where h is the predictor and ξ' the momentum encoder's embedding of the other view; the mean over both directions,
    which the paper adds up. The momentum rises along a cosine from its start to 1, as in the paper. Rows are scaled to
    length :math:`\sqrt d` before the predictor, which the paper does not do. ``labels`` say which rows are views of one
    image.

    Args:
        embedding_size: d, width of the embeddings.
        predictor_size: width of the predictor's hidden layer; 4096 in the paper, where d is 256.
        momentum: of the momentum encoder at the first step, in [0, 1].
        options: ``gather``.
    """

    def __init__(
        self,
        embedding_size: int,
        predictor_size: int = 512,
        momentum: float = 0.996,
        **options: Unpack[ViewOptions],
    ) -> None:
        super().__init__(momentum, **options)
        check_hyperparameters({"embedding_size": embedding_size, "predictor_size": predictor_size})
        self.predictor = predictor(embedding_size, predictor_size)

    def momentum_at(self, progress: float) -> float:
        """Returns the momentum of a step, before which a share of the training's steps lies."""
        return 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2

    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns what a view costs beside its target, each (images, dimensions)."""
        return 2 - 2 * F.cosine_similarity(self.predictor(one), other, dim=1).mean()
