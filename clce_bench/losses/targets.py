"""What losses share that compare each view with what a momentum encoder makes of another one."""

from abc import abstractmethod
from itertools import permutations
from typing import Unpack

import torch
from torch import Tensor

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.views import ViewLoss, ViewOptions, too_few


class TargetLoss(ViewLoss):
    """Base of the losses with a momentum encoder: a copy of the network that follows it as a moving average.

    Subclasses say what a view costs beside its target, the momentum encoder's embedding of another view. The loss is
    the mean over all ordered pairs of views, each on rows of length √dimensions.

    Args:
        momentum: m, in [0, 1]: after each step the copy's weights are m times theirs and 1 − m times the network's.
        options: ``gather``.
    """

    def __init__(self, momentum: float, **options: Unpack[ViewOptions]) -> None:
        super().__init__(**options)
        check_hyperparameters({"momentum": momentum})
        self.momentum = momentum

    def momentum_at(self, progress: float) -> float:
        """Returns m of a step.

        Args:
            progress: share of the training's steps before it, in [0, 1).
        """
        return self.momentum

    @abstractmethod
    def per_pair(self, one: Tensor, other: Tensor) -> Tensor:
        """Returns what a view costs beside its target, each (images, dimensions), as a scalar."""

    # The third argument asks for the momentum encoder, so this is no loss of embeddings and labels alone.
    def forward(  # type: ignore[override]
        self, embeddings: Tensor, labels: Tensor, momentum_embeddings: Tensor
    ) -> Tensor:
        """Computes the loss.

        Args:
            embeddings: (rows, dimensions), any float type; computed in float32 at least.
            labels: which image each row is a view of, (rows,), integer. Views of an image are in the same order for all
                images.
            momentum_embeddings: what the momentum encoder makes of the same rows, (rows, dimensions); no gradient flows
                into it.

        Returns:
            A scalar; 0 with a zero gradient where no image has two views, or fewer than two images have.

        Raises:
            ValueError: the shapes or types do not fit, or images have different numbers of views.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            views = self.views_of(embeddings, labels)
            targets = self.views_of(momentum_embeddings.detach(), labels)
            if too_few(views):
                return 0.0 * views.sum()
            pairs = permutations(range(len(views)), 2)
            value = torch.stack([self.per_pair(views[one], targets[other]) for one, other in pairs]).mean()
            self.remember(targets)
            return value

    def remember(self, targets: Tensor) -> None:
        """Keeps what later steps need of this step's targets (views, images, dimensions); nothing by itself."""
