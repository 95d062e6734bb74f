"""What is put on top of features: the projection head that contrastive losses see, and classifiers."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clce_bench.experiment.recipes import Head

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
COSINE_SCALE = 10.0
"""Where the scale of a cosine classifier starts, as in Gidaris and Komodakis."""


def projection_head(head: Head, features: int, projection_size: int) -> nn.Sequential:
    """Builds a projection head: linear layers, with normalisation and activation after all but the last.

    Args:
        head: how many, how wide, and what is between them.
        features: width of its input.
        projection_size: width of its output.
    """
    *hidden, last = pairwise([*head.widths(features), projection_size])
    layers: list[nn.Module] = []
    for wide, next_wide in hidden:
        layers.append(nn.Linear(wide, next_wide))
        if head.norm != "none":
            layers.append(nn.BatchNorm1d(next_wide) if head.norm == "batch" else nn.LayerNorm(next_wide))
        layers.append(ACTIVATIONS[head.activation]())
    return nn.Sequential(*layers, nn.Linear(*last))


class CosineClassifier(nn.Linear):
    """A learnt scale times the cosine of a row and each class (Gidaris and Komodakis, arXiv 1804.09458).

    Args:
        features: width of the rows.
        classes: number of classes.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)
        self.scale = nn.Parameter(torch.tensor(COSINE_SCALE))

    def forward(self, rows: Tensor) -> Tensor:
        """Computes logits (rows, classes) of rows (rows, features)."""
        return self.scale * F.linear(F.normalize(rows, dim=1), F.normalize(self.weight, dim=1))
