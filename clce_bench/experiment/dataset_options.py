"""How a data set is prepared and divided for an experiment: keys of ``datasets``."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from clce_bench.experiment.recipe_values import RecipeValues
from clce_bench.experiment.recipes import Augmentation, NamedAugmentation
from clce_bench.experiment.strict_model import Seed, StrictModel

ROLES = ("fold", "test_fold", "class_fold")
"""Keys of a split that say which of its parts does what: all of them share one division."""


class Split(StrictModel):
    """How a data set is divided where it has no official parts; shares of images, or of classes for few-shot sets."""

    seed: Seed = 0
    """Decides the test part or parts, and into which folds the rest falls."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the test part."""
    test_folds: Annotated[int, Field(ge=2)] | None = None
    """Cross-fitting, instead of one test part: the images are divided into so many, and each tests once."""
    test_fold: Annotated[int, Field(ge=0)] = 0
    """Which of the ``test_folds`` tests; the others train and validate."""
    class_folds: Annotated[int, Field(ge=2)] | None = None
    """The same for few-shot sets: the classes are divided into so many parts, and those of each are novel once."""
    class_fold: Annotated[int, Field(ge=0)] = 0
    """Which of the ``class_folds`` is novel."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of what is not for testing: one validates, the others train."""
    fold: Annotated[int, Field(ge=0)] = 0
    """Which fold validates."""
    images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Training images per class, at most; what is kept for a number is kept for larger ones too. All when not given."""
    subset_seed: Seed | None = None
    """Decides which images ``images_per_class`` keeps; the cell's own seed when not given."""

    @model_validator(mode="after")
    def _parts_exist(self) -> "Split":
        for key, count in (("fold", self.folds), ("test_fold", self.test_folds), ("class_fold", self.class_folds)):
            number = getattr(self, key)
            if count is None and key in self.model_fields_set:
                raise ValueError(f"{key}: {number} is not allowed without {key}s, the number of parts.")
            if count is not None and number >= count:
                raise ValueError(f"{key}: {number} is not allowed. Allowed: 0 to {count - 1}.")
        if self.test_folds and self.class_folds:
            raise ValueError("test_folds, class_folds: only one is allowed: images are divided, or classes.")
        if self.cross_fitting and "test" in self.model_fields_set:
            given = "test_folds" if self.test_folds else "class_folds"
            raise ValueError(f"test: {self.test:g} is not allowed with {given}, of which each part tests once.")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Writes no key that would be refused when it is read again."""
        return {key: value for key, value in values(self).items() if key not in self.unused}

    @property
    def unused(self) -> set[str]:
        """What belongs to the ways of dividing that were not chosen."""
        chosen = {
            "test": not self.cross_fitting,
            **dict.fromkeys(("test_folds", "test_fold"), self.test_folds),
            **dict.fromkeys(("class_folds", "class_fold"), self.class_folds),
            "images_per_class": self.images_per_class,
            "subset_seed": self.subset_seed is not None,
        }
        return {key for key, used in chosen.items() if not used}

    @property
    def cross_fitting(self) -> int:
        """How many test parts there are that take turns; 0 for a single one."""
        return self.test_folds or self.class_folds or 0

    @property
    def testing(self) -> int:
        """Which of the parts that take turns tests; 0 for a single one."""
        return self.test_fold or self.class_fold

    @property
    def test_share(self) -> float:
        """Share of the images that test, where there are no official parts."""
        return 1 / self.cross_fitting if self.cross_fitting else self.test

    @property
    def test_to_train(self) -> float:
        """Test images per training image, where there are no official parts."""
        return self.test_share / ((1 - self.test_share) * (1 - 1 / self.folds))


class Episodes(StrictModel):
    """Few-shot tasks, drawn once and shared by all losses."""

    count: Annotated[int, Field(ge=2)] = 1000
    """How many episodes are drawn."""
    way: Annotated[int, Field(ge=2)] = 5
    """Classes per episode."""
    shots: Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(sorted)] = [1, 5]
    """Support images per class; each number gives episodes and metrics of its own."""
    queries: Annotated[int, Field(ge=1)] = 15
    """Queries per class, or as many as the smallest class allows."""
    normalise: bool = True
    """Whether features are scaled to unit length first; SCHaNe's code does not do it."""
    seed: Seed = 0
    """Decides which episodes are drawn."""


def with_one_group(pattern: str) -> str:
    """Returns a regular expression that has exactly one group; the empty one stands for none.

    Raises:
        ValueError: it has more or fewer, or is no regular expression.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}.") from None
    if pattern and groups != 1:
        allowed = r"Allowed: a regular expression with exactly one group, such as '(patient\d+)_'"
        raise ValueError(f"{pattern!r} is not allowed: it has {groups} groups. {allowed}.")
    return pattern


class DatasetOptions(StrictModel):
    """How one data set is prepared for this experiment."""

    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Height and width of the images, in pixels."""
    split: Split = Split()
    """How it is divided into training, validation and test parts."""
    augmentation: NamedAugmentation = Augmentation()
    """Random changes to training images: values, or the name of an augmentation."""
    episodes: Episodes = Episodes()
    """Few-shot tasks; only for few-shot data sets."""
    corrupt: Literal["stop", "skip"] = "stop"
    """What to do about image files that cannot be decoded: stop, or leave them out and list them in dataset.json."""
    groups: Annotated[str, AfterValidator(with_one_group)] = ""
    """Of a folder, which images belong together and stay on one side of every split: a regular expression whose one
    group finds that in a file's path below the folder, such as ``(patient\\d+)_``. Each is its own when not given."""
    recipe: RecipeValues = {}
    """Recipe values that hold on this data set."""


USUAL = DatasetOptions()
"""Of a data set of which an experiment says nothing."""
