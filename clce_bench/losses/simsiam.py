"""SimSiam."""

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.predictor import predictor
from clce_bench.losses.views import ViewLoss, ViewOptions


class SimSiam(ViewLoss):
    r"""Each view predicts the other, through which no gradient flows (Chen and He, arXiv 2011.10566).

    .. math:: \ell = -\frac{1}{2n} \sum_i \left(\cos(h(z_i), \bar z'_i) + \cos(h(z'_i), \bar z_i)\right)

    where h is the predictor, and a bar stops the gradient. Rows are scaled to length :math:`\sqrt d` before the
    predictor, which the paper does not do. ``labels`` say which rows are views of one image.

    Args:
        embedding_size: d, width of the embeddings.
        predictor_size: width of the predictor's hidden layer; a quarter of d in the paper.
        options: ``gather``.
    """

    def __init__(self, embedding_size: int, predictor_size: int = 32, **options: Unpack[ViewOptions]) -> None:
        super().__init__(**options)
        check_hyperparameters({"embedding_size": embedding_size, "predictor_size": predictor_size})
        self.predictor = predictor(embedding_size, predictor_size)

    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns the loss of two views, each (images, dimensions)."""
        return (self._distance(one, other) + self._distance(other, one)) / 2

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        return -F.cosine_similarity(self.predictor(one), other.detach(), dim=1).mean()
