"""The trainable part of a cell: tail of the backbone, linear classifier, projection head."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clce_bench.experiment.recipes import Recipe
from clce_bench.models.backbone import standardise
from clce_bench.models.heads import CosineClassifier, projection_head
from clce_bench.seeds import seed_for

# timm's TensorFlow ports keep a momentum of 0.01, with which running statistics never catch up in a short fine-tuning.
BATCH_NORM_MOMENTUM = 0.1

CLASSIFIER_SCALE = 0.001


class Outputs(NamedTuple):
    """What the network gives for a batch.

    Attributes:
        features: (rows, d).
        logits: (rows, classes); ``None`` at λ = 1.
        embeddings: (rows, projection_size), of unit length; ``None`` at λ = 0.
    """

    features: Tensor
    logits: Tensor | None
    embeddings: Tensor | None


class ContrastiveClassifier(nn.Module):
    """Features with a linear classifier and a projection head on top.

    The head is d → d → ReLU → ``projection_size`` unless the recipe says otherwise, its rows scaled to length 1, which
    losses of libraries may count on (those here would scale them themselves); a linear classifier starts at a
    thousandth of its usual scale, as in BEiT-3's fine-tuning. Cells that differ only in their loss start equal.

    Args:
        tail: from the trunk's output to features (rows, d).
        features: d.
        classes: number of classes.
        contrastive_weight: λ; at 1 there is no classifier, at 0 no projection head.
        recipe: the cell's recipe.
        seed: the cell's seed.
        scale: mean and standard deviation per channel, when the tail is a whole backbone and takes images: uint8, or
            0 to 255, (rows, 3, height, width).
    """

    def __init__(
        self,
        tail: nn.Module,
        features: int,
        classes: int,
        contrastive_weight: float,
        recipe: Recipe,
        seed: int,
        scale: tuple[list[float], list[float]] | None = None,
    ) -> None:
        super().__init__()
        self.tail = tail
        self.scale = scale
        self.batch_norm = recipe.batch_norm
        self.classifier: nn.Linear | None = None
        self.projection: nn.Sequential | None = None
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = BATCH_NORM_MOMENTUM
        with torch.random.fork_rng(devices=[]):
            if contrastive_weight < 1:
                torch.manual_seed(seed_for("classifier", seed=seed))
                if recipe.classifier == "cosine":
                    self.classifier = CosineClassifier(features, classes)
                else:
                    self.classifier = nn.Linear(features, classes)
                    with torch.no_grad():
                        self.classifier.weight.mul_(CLASSIFIER_SCALE)
                        self.classifier.bias.mul_(CLASSIFIER_SCALE)
            if contrastive_weight > 0:
                torch.manual_seed(seed_for("projection", seed=seed))
                self.projection = projection_head(recipe.projection, features, recipe.projection_size)

    def train(self, mode: bool = True) -> "ContrastiveClassifier":
        """Sets training mode; the backbone's batch normalisation stays in evaluation mode when it is frozen."""
        super().train(mode)
        if self.batch_norm == "frozen":
            for module in self.tail.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, inputs: Tensor) -> Outputs:
        """Computes features, logits and embeddings of the tail's inputs (rows, …)."""
        if self.scale:
            # Here and not before: floats take four times the memory of a large batch's bytes.
            inputs = standardise(inputs, *self.scale).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.tail(inputs)
        logits = self.classifier(features) if self.classifier else None
        embeddings = F.normalize(self.projection(features), dim=1) if self.projection else None
        return Outputs(features, logits, embeddings)
