"""Known ways in which results like these go wrong, as switches that measure what each one does (docs/audit.md).

A hazard is named in a grid, is off by default, and is part of the canonical form and the name of each cell that it
changes. A cell that it cannot change is the honest one.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from clce_bench.errors import unknown
from clce_bench.experiment.recipes import Augmentation, Recipe


class Hazard(StrEnum):
    """The names of the hazards."""

    SAME_CROP = "same-crop"
    LEAKY_SPLIT = "leaky-split"
    TEST_SELECTION = "test-selection"
    IGNORED_REGULARISATION = "ignored-regularisation"
    UNEQUAL_VIEWS = "unequal-views"
    PER_PROCESS_NEGATIVES = "per-process-negatives"
    SCALED_SUPCON = "scaled-supcon"


HAZARDS: dict[Hazard, str] = {
    Hazard.SAME_CROP: "all views of an image in a batch are one and the same crop",
    Hazard.LEAKY_SPLIT: "training images are drawn without regard to the test part, so that many are in both",
    Hazard.TEST_SELECTION: "the weights of the epoch with the best test accuracy are kept",
    Hazard.IGNORED_REGULARISATION: "mixup, cutmix, label smoothing and erasing are asked for and not done",
    Hazard.UNEQUAL_VIEWS: "cross-entropy sees one view of an image, contrastive losses see all",
    Hazard.PER_PROCESS_NEGATIVES: "an anchor is compared within an eighth of the batch, as without gathering on 8 GPUs",
    Hazard.SCALED_SUPCON: "SupCon is multiplied by τ/0.07 and the other losses are not",
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

    hazards: list[Hazard]
    recipe: Recipe
    augmentation: Augmentation


def known_hazards(names: Iterable[str]) -> list[Hazard]:
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
    found = {Hazard.LEAKY_SPLIT, Hazard.TEST_SELECTION}
    if Hazard.UNEQUAL_VIEWS in asked and weight == 0 and recipe.views > 1:
        found.add(Hazard.UNEQUAL_VIEWS)
        recipe = recipe.model_copy(update={"views": 1})
    if Hazard.IGNORED_REGULARISATION in asked:
        ignored = [key for key in _REGULARISATION if getattr(recipe, key)]
        if ignored or augmentation.erasing:
            found.add(Hazard.IGNORED_REGULARISATION)
            recipe = recipe.model_copy(update=dict.fromkeys(ignored, 0.0))
            augmentation = augmentation.model_copy(update={"erasing": 0.0})
    if recipe.views > 1:
        found.add(Hazard.SAME_CROP)
    if weight > 0:
        found |= {Hazard.PER_PROCESS_NEGATIVES, *([Hazard.SCALED_SUPCON] if loss == "supcon" else [])}
    return Applied(known_hazards(found & set(asked)), recipe, augmentation)
