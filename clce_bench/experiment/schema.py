"""What an experiment file may say: the single source of its keys, defaults and ranges."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    field_validator,
    model_validator,
)

from clce_bench.components.hyperparameters import check_loss
from clce_bench.components.registry import canonical_dataset, dataset_path, measure_path
from clce_bench.errors import UserError, unknown
from clce_bench.experiment.backbone_options import Backbone, check_backbone
from clce_bench.experiment.claims import Claim, expand_claims, parse_claim
from clce_bench.experiment.dataset_options import USUAL, DatasetOptions
from clce_bench.experiment.figure_options import AnyFigure
from clce_bench.experiment.hazards import known_hazards
from clce_bench.experiment.recipe_values import RecipeValues, expand_preset
from clce_bench.experiment.recipes import Recipe, Runtime
from clce_bench.experiment.search_space import Tuning
from clce_bench.experiment.seed_rounds import SeedRounds
from clce_bench.experiment.strict_model import Name, Probability, Seed, StrictModel, as_list


class Loss(StrictModel):
    """A loss with its hyper-parameters (any further keys; a list means one cell per value)."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    """A loss of the package, or ``module:NAME`` for one of yours. In ``losses`` the key names it."""
    labels: Annotated[list[Literal["classes", "images"]], BeforeValidator(as_list)] = []
    """What makes two rows a positive pair: the same class (``classes``), or being views of one image (``images``), so
    that the loss learns without classes. ``classes`` when not given, except for losses that are made for images."""
    recipe: RecipeValues = {}
    """Recipe values for this loss."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


def as_losses(losses: Any) -> list[Any]:
    """Makes a list of losses of a single one; a name alone is a loss without further keys."""
    return [{"name": loss} if isinstance(loss, str) else loss for loss in as_list(losses)]


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


def known_measures(names: list[str]) -> list[str]:
    """Returns measures in their canonical form, each once.

    Raises:
        ValueError: there is no such measure, or no such data set.
    """
    found: dict[str, None] = {}
    for name in names:
        try:
            measure_path(name)
        except UserError as error:
            raise ValueError(str(error)) from None
        kind, colon, dataset = name.partition(":")
        found[f"{kind}:{known_dataset(dataset)}" if colon else kind] = None
    return list(found)


SeedList = Annotated[list[Seed], BeforeValidator(as_list), Field(min_length=1)]
Seeds = Annotated[
    Annotated[SeedList, Tag("list")] | Annotated[SeedRounds, Tag("rounds")],
    Discriminator(lambda value: "rounds" if isinstance(value, dict | SeedRounds) else "list"),
]


class Grid(StrictModel):
    """The product of its axes; every axis takes one value or a list."""

    name: Name
    """By which figures and claims refer to it; it has no effect on the cells."""
    dataset: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    """Data sets: names, ``folder:PATH``, ``torchvision:NAME``, ``hf:OWNER/NAME`` or ``module:NAME``."""
    loss: Annotated[list[Loss], BeforeValidator(as_losses), Field(min_length=1)]
    """Losses: names or ``module:NAME``, or mappings of a ``name`` and hyper-parameters."""
    contrastive_weight: Annotated[list[Probability], BeforeValidator(as_list), Field(alias="lambda", min_length=1)] = [
        0.9
    ]
    """λ: the loss is (1 − λ)·cross-entropy + λ·contrastive."""
    batch_size: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(as_list), Field(min_length=1)] = [64]
    """Images per step; the contrastive loss sees ``recipe.views`` times as many rows."""
    seed: Seeds = [0]
    """Seeds of initial heads, batches and views; at one seed they are the same for all losses. With
    ``{first: 3, step: 2, most: 11}`` what undecided claims compare gets more of them, round by round."""
    backbone: Annotated[list[Annotated[dict[str, Any], BeforeValidator(check_backbone)]], BeforeValidator(as_list)] = []
    """Backbones: timm names, or keys that replace those of the experiment's ``backbone``. That one when not given."""
    fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Validation folds, to choose settings by cross-validation. The data set's ``split.fold`` when not given."""
    test_fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Test parts of cross-fitting, one per cell. The data set's ``split.test_fold`` when not given."""
    class_fold: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(as_list)] = []
    """Parts whose classes are novel, one per cell. The data set's ``split.class_fold`` when not given."""
    split_seed: Annotated[list[Seed], BeforeValidator(as_list)] = []
    """Seeds of repeated random splits. The data set's ``split.seed`` when not given."""
    images_per_class: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(as_list)] = []
    """Training images per class. The data set's ``split.images_per_class`` when not given."""
    label_noise: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], BeforeValidator(as_list), Field(min_length=1)] = [
        0.0
    ]
    """Shares of each class's training images whose label is wrong; at one seed the same for all losses."""
    recipe: RecipeValues = {}
    """Recipe values for this grid; they win over those of the experiment, the data set and the loss."""
    hazards: Annotated[list[str], BeforeValidator(as_list), AfterValidator(known_hazards)] = []
    """Known mistakes that its cells make on purpose, all at once, to measure their effect: docs/audit.md."""
    measures: Annotated[list[str], BeforeValidator(as_list), AfterValidator(known_measures)] = []
    """What else is measured of its trained cells, beside what all cells are measured for: docs/measures.md."""
    tuning: Tuning | None = None
    """A search for the settings of each loss: docs/tuning.md."""
    tuned_by: str = ""
    """The name of a grid with ``tuning``, whose search decides the settings of these losses."""

    @property
    def seeds(self) -> list[int]:
        """All seeds that it may come to have."""
        return list(range(self.seed.most)) if isinstance(self.seed, SeedRounds) else self.seed

    @field_validator("dataset")
    @classmethod
    def _datasets_exist(cls, names: list[str]) -> list[str]:
        return [known_dataset(name) for name in names]

    @field_validator("loss")
    @classmethod
    def _losses_exist(cls, losses: list[Loss]) -> list[Loss]:
        for loss in losses:
            check_loss(loss.name, loss.hyperparameters, loss.labels)
        return losses


class Tracking(StrictModel):
    """Where MLflow keeps the runs."""

    uri: str = "sqlite:///results/mlflow/mlflow.db"
    """Of the MLflow store: a database or ``http://…`` of a server."""

    @field_validator("uri")
    @classmethod
    def _is_address(cls, uri: str) -> str:
        if not re.match(r"(https?|(sqlite|postgresql|mysql|mssql)(\+\w+)?)://.|databricks", uri):
            allowed = "sqlite:///FILE, http://HOST, or the address of a database such as postgresql://HOST/NAME"
            raise ValueError(f"{uri[:100]!r} is not allowed. Allowed: {allowed}.")
        return uri


class Experiment(StrictModel):
    """A whole experiment file."""

    name: Name
    """Names the folder of its results, ``results/experiments/NAME``."""
    description: str = ""
    """The question in words; the report begins with it."""
    backbone: Backbone = Backbone()
    """The pre-trained network that is fine-tuned."""
    datasets: dict[str, DatasetOptions] = {}
    """By name of a data set, how it is prepared and divided."""
    recipe: Annotated[Recipe, BeforeValidator(expand_preset)] = Recipe()
    """How cells are trained: the name of a recipe, or values."""
    runtime: Runtime = Runtime()
    """How jobs run; changes no result."""
    losses: dict[str, Loss] = {}
    """Values of a loss wherever this experiment uses it."""
    grids: Annotated[list[Grid], Field(min_length=1)]
    """What is trained: the experiment is the union of its grids."""
    headline: str = ""
    """The grid of the headline table; the first one when not given."""
    figures: list[AnyFigure] = []
    """What is drawn."""
    claims: Annotated[
        list[Annotated[SerializeAsAny[Claim], BeforeValidator(parse_claim)]], BeforeValidator(expand_claims)
    ] = []
    """Statements of papers that the report judges."""
    tracking: Tracking = Tracking()
    """Where MLflow keeps the runs."""

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

    def options_of(self, dataset: str) -> DatasetOptions:
        """Returns how a data set is prepared and divided."""
        return self.datasets.get(dataset, USUAL)

    @property
    def headline_grid(self) -> Grid:
        """The grid of the headline table."""
        name = self.headline or self.grids[0].name
        return next(grid for grid in self.grids if grid.name == name)
