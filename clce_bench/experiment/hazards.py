"""Known ways in which results like these go wrong, as switches that measure what each one does (docs/audit.md).

A hazard is named in a grid, is off by default, and stands in the canonical form and the name of each cell that it
changes. A cell that it cannot change is the honest one.
"""

from collections.abc import Iterable
from typing import NamedTuple

from clce_bench.errors import unknown
from clce_bench.experiment.recipes import Augmentation, Recipe

HAZARDS: dict[str, str] = {
    "same-crop": "all views of an image in a batch are one and the same crop",
    "leaky-split": "training images are drawn without regard to the test part, so that many are in both",
    "test-selection": "the weights of the epoch with the best test accuracy are kept",
    "ignored-regularisation": "mixup, cutmix, label smoothing and erasing are asked for and not done",
    "unequal-views": "cross-entropy sees one view of an image, contrastive losses see all",
    "per-process-negatives": "an anchor is compared within its eighth of the batch, as without gathering on 8 GPUs",
    "scaled-supcon": "SupCon is multiplied by τ/0.07 and the other losses are not",
}
"""What each one does, by name."""

PROCESSES = 8
"""How many processes ``per-process-negatives`` stands for; another number would be a hazard with a name of its own."""

_REGULARISATION = ("mixup", "cutmix", "label_smoothing")


class Applied(NamedTuple):
    """A cell's settings under hazards.

    Attributes:
        hazards: those that change this cell, in the order of :data:`HAZARDS`.
        recipe: with what they change in it.
        augmentation: likewise.
    """

    hazards: list[str]
    recipe: Recipe
    augmentation: Augmentation


def known_hazards(names: Iterable[str]) -> list[str]:
    """Returns the hazards in the order of :data:`HAZARDS`, each once.

    Raises:
        ValueError: there is no such hazard.
    """
    asked = list(names)
    for name in asked:
        if name not in HAZARDS:
            raise ValueError(unknown("a hazard", name, HAZARDS))
    return [name for name in HAZARDS if name in asked]


def apply_hazards(
    asked: Iterable[str], loss: str, weight: float, recipe: Recipe, augmentation: Augmentation
) -> Applied:
    """Works out which hazards change a cell, and does what they do to its settings.

    Args:
        asked: names.
        loss: the cell's.
        weight: λ.
        recipe: as the experiment says.
        augmentation: likewise.
    """
    found = {"leaky-split", "test-selection"}
    if "unequal-views" in asked and weight == 0 and recipe.views > 1:
        found.add("unequal-views")
        recipe = recipe.model_copy(update={"views": 1})
    if "ignored-regularisation" in asked:
        ignored = [key for key in _REGULARISATION if getattr(recipe, key)]
        if ignored or augmentation.erasing:
            found.add("ignored-regularisation")
            recipe = recipe.model_copy(update=dict.fromkeys(ignored, 0.0))
            augmentation = augmentation.model_copy(update={"erasing": 0.0})
    if recipe.views > 1:
        found.add("same-crop")
    if weight > 0:
        found |= {"per-process-negatives", *(["scaled-supcon"] if loss == "supcon" else [])}
    return Applied(known_hazards(found & set(asked)), recipe, augmentation)
