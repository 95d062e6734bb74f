"""From an experiment to its cells: canonical form and names."""

import re
from collections.abc import Iterator
from functools import cached_property, reduce
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from clce_bench.components.hyperparameters import as_default, hyperparameters_of, is_self_supervised
from clce_bench.components.loss_info import NO_TRAINING, WITHOUT_CODE
from clce_bench.components.registry import load_dataset, loss_path
from clce_bench.errors import UserError
from clce_bench.experiment.grid_checks import check_grids
from clce_bench.experiment.hazards import Hazard, apply_hazards
from clce_bench.experiment.recipes import Augmentation, Recipe, lay_over
from clce_bench.experiment.schema import Backbone, DatasetOptions, Experiment, Grid, Loss, Split
from clce_bench.experiment.search_trials import Choices, parts_of
from clce_bench.experiment.strict_model import StrictModel
from clce_bench.files import canonical_json, digest
from clce_bench.labels import SELF_SUPERVISED


class LossSpec(StrictModel):
    """A loss with a value for each of its hyper-parameters, which are further keys."""

    model_config = ConfigDict(extra="allow")

    name: str
    """``ce`` and ``none``, which trains nothing, have no hyper-parameters."""
    labels: Literal["images"] | None = None
    """``images`` where positives share an image though the loss could take classes."""

    @property
    def unused(self) -> set[str]:
        """``labels`` where the loss has those that it is made for."""
        return set() if self.labels else {"labels"}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


class Cell(StrictModel):
    """One training run. Two cells with the same meaning are equal, whatever the file looked like."""

    dataset: str
    size: int
    split: Split
    augmentation: Augmentation
    support: Augmentation | None = None
    """What may change in the support of few-shot episodes, where that differs: no loss is measured on other support."""
    backbone: Backbone
    loss: LossSpec
    contrastive_weight: Annotated[float, Field(alias="lambda")]
    batch_size: int
    seed: int
    recipe: Recipe
    hazards: list[Hazard] = []
    """Rules that this cell breaks on purpose, see :mod:`clce_bench.experiment.hazards`."""

    @property
    def unused(self) -> set[str]:
        """What most cells do not have."""
        return {name for name in ("support", "hazards") if not getattr(self, name)}

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that defines the result, without what this cell does not use."""
        unused: dict[str, Any] = {name: own.unused for name, own in self if isinstance(own, StrictModel)}
        if self.contrastive_weight == 0:
            unused["recipe"] |= {"projection_size"}
        if not self.trains:
            unused["recipe"] = set(Recipe.model_fields)
        return self.model_dump(by_alias=True, exclude={**unused, **dict.fromkeys(self.unused, True)})

    @property
    def trains(self) -> bool:
        """Whether it takes any step; a cell without steps shows what its backbone brings along."""
        return self.loss.name != NO_TRAINING

    @property
    def loss_name(self) -> str:
        """What results call the loss: a loss that learns without classes is another than the one that has them."""
        return f"{self.loss.name}{SELF_SUPERVISED if self.loss.labels else ''}"

    @property
    def self_supervised(self) -> bool:
        """Whether its loss tells positives by their image."""
        return self.contrastive_weight > 0 and (
            self.loss.labels == "images" or is_self_supervised(loss_path(self.loss.name))
        )

    @cached_property
    def name(self) -> str:
        """Name of the cell's directory: readable axes and a hash of the rest."""
        loss = re.sub(r"[^A-Za-z0-9.]+", ".", self.loss_name)
        few = f"_n{self.split.images_per_class}" if self.split.images_per_class else ""
        part = (
            f"_{'test' if self.split.test_folds else 'class'}{self.split.testing}" if self.split.cross_fitting else ""
        )
        broken = f"_hazards-{'+'.join(self.hazards)}" if self.hazards else ""
        axes = f"bs{self.batch_size}_lam{self.contrastive_weight:g}{few}{part}{broken}_s{self.seed}"
        return f"{loss}_{axes}-{digest(self.spec)}"

    @cached_property
    def directory(self) -> Path:
        """Where the cell's files lie, relative to the working directory."""
        return Path("results/cells", dataset_directory(self.dataset), self.backbone.name, self.name)

    @property
    def axes(self) -> dict[str, Any]:
        """What tells cells apart, flat; hyper-parameters as ``loss.…``, the recipe as ``recipe.…``."""
        return {
            "dataset": self.dataset,
            "backbone": self.backbone.name,
            "loss": self.loss_name,
            "lambda": self.contrastive_weight,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fold": self.split.fold,
            "test_fold": self.split.test_fold,
            "test_folds": self.split.test_folds or 1,
            "class_fold": self.split.class_fold,
            "class_folds": self.split.class_folds or 1,
            "split_seed": self.split.seed,
            "images_per_class": float(self.split.images_per_class or "nan"),
            **{f"loss.{key}": value for key, value in self.loss.hyperparameters.items()},
            **{f"recipe.{key}": _scalar(value) for key, value in self.spec["recipe"].items()},
            "recipe.augmentation": self.augmentation.label,
            "hazards": ", ".join(self.hazards),
        }


def _scalar(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, dict | list) else value


def dataset_directory(dataset: str) -> str:
    """Turns a data set's name into a folder's: ``folder-birds-1f3a9c`` for ``folder:photos/birds``."""
    kind, _, path = dataset.rpartition(":")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).name).strip("-.")[:100]
    return f"{re.sub('[^A-Za-z0-9._-]+', '-', kind)}-{readable}-{digest(dataset, 6)}" if kind else dataset


def cells_of(experiment: Experiment, choices: Choices | None = None) -> dict[str, list[Cell]]:
    """Lists the cells of each grid.

    Args:
        experiment: as its file says.
        choices: what searches have decided so far; a grid that uses what is not decided yet has no cells.

    Returns:
        Cells by grid name, without duplicates, sorted by name: the order in the file does not matter.

    Raises:
        UserError: values that do not go together.
    """
    check_grids(experiment)
    grids: dict[str, list[Cell]] = {}
    for grid in experiment.grids:
        cells = {cell.name: cell for part in parts_of(grid, choices or {}) for cell in expand(experiment, part)}
        grids[grid.name] = [cells[key] for key in sorted(cells)]
    return grids


def union(grids: dict[str, list[Cell]]) -> list[Cell]:
    """Returns the cells of all grids, each once, sorted by name."""
    cells = {cell.name: cell for members in grids.values() for cell in members}
    return [cells[name] for name in sorted(cells)]


class _Point(NamedTuple):
    """A point of the product of a grid's axes: all that tells its cell from the others of the grid."""

    dataset: str
    backbone: Backbone
    loss: LossSpec
    contrastive_weight: float
    batch_size: int
    seed: int
    split: dict[str, int]
    """Values to lay over the data set's own."""
    recipe: Recipe


def expand(experiment: Experiment, grid: Grid) -> Iterator[Cell]:
    """Yields the cells of a grid that searches nothing."""
    for point in _points(experiment, grid):
        yield _cell(experiment, grid, point)


def _points(experiment: Experiment, grid: Grid) -> Iterator[_Point]:
    axes = {name: getattr(grid, name) for name in ("fold", "test_fold", "class_fold", "images_per_class")}
    axes["seed"] = grid.split_seed
    splits = list(_alternatives({key: values for key, values in axes.items() if values}))
    backbones = list(_backbones(experiment, grid))
    for dataset, asked, weight in product(grid.dataset, grid.loss, grid.contrastive_weight):
        loss = Loss(name="ce") if weight == 0 and asked.name != NO_TRAINING else asked
        losses, recipes = _losses(experiment, loss), _recipes(experiment, grid, dataset, loss)
        for own, recipe in product(losses, recipes):
            for backbone, size, seed, split in product(backbones, grid.batch_size, grid.seed, splits):
                own_weight = 0.0 if own.name in WITHOUT_CODE else weight
                yield _Point(dataset, backbone, own, own_weight, size, seed, split, recipe)


def _backbones(experiment: Experiment, grid: Grid) -> Iterator[Backbone]:
    for values in grid.backbone or [{}]:
        try:
            yield Backbone.model_validate({**experiment.backbone.model_dump(), **values})
        except ValidationError as error:
            raise UserError(f"grids: {grid.name}: backbone: {_reason(error)}") from None


def _losses(experiment: Experiment, loss: Loss) -> Iterator[LossSpec]:
    if loss.name in WITHOUT_CODE:
        yield LossSpec(name=loss.name)
        return
    path = loss_path(loss.name)
    defaults = hyperparameters_of(path)
    preset = experiment.losses.get(loss.name, Loss())
    given = {**defaults, **preset.hyperparameters, **loss.hyperparameters}
    missing = [key for key, value in given.items() if value is ...]
    if missing:
        raise UserError(f"losses.{loss.name}: {missing[0]!r} has no default in the loss; give it a value here.")
    labels = [] if is_self_supervised(path) else loss.labels or preset.labels
    for values, choice in product(_alternatives(given), labels or ["classes"]):
        own = {key: as_default(value, defaults[key]) for key, value in values.items()}
        yield LossSpec(name=loss.name, labels="images" if choice == "images" else None, **own)


def _recipes(experiment: Experiment, grid: Grid, dataset: str, loss: Loss) -> Iterator[Recipe]:
    if loss.name == NO_TRAINING:
        yield Recipe()
        return
    overrides = (
        experiment.datasets.get(dataset, DatasetOptions()).recipe,
        experiment.losses.get(loss.name, Loss()).recipe,
        loss.recipe,
        grid.recipe,
    )
    for values in _alternatives(reduce(lay_over, overrides)):
        yield Recipe.model_validate(lay_over(experiment.recipe.model_dump(), values))


def _alternatives(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choices = [value if isinstance(value, list) else [value] for value in values.values()]
    for chosen in product(*choices):
        yield dict(zip(values, chosen, strict=True))


def _cell(experiment: Experiment, grid: Grid, point: _Point) -> Cell:
    options = experiment.datasets.get(point.dataset, DatasetOptions())
    recipe, weight = point.recipe, point.contrastive_weight
    augmentation = recipe.augmentation or options.augmentation
    applied = apply_hazards(grid.hazards, point.loss.name, weight, recipe, augmentation)
    own_support = applied.augmentation != options.augmentation and load_dataset(point.dataset).task == "few-shot"
    changed = {"split": _split(grid, options, point), "support": options.augmentation if own_support else None}
    return Cell(**{**point._asdict(), "size": options.size, **changed, **applied._asdict()})


def _split(grid: Grid, options: DatasetOptions, point: _Point) -> Split:
    try:
        split = Split(**{**options.split.model_dump(), **point.split})
    except ValidationError as error:
        raise UserError(f"grids: {grid.name}: {point.dataset}: {_reason(error)}") from None
    # Seeds differ in their images too, unless the file says which images all of them have.
    subset = point.seed if split.subset_seed is None else split.subset_seed
    return split.model_copy(update={"subset_seed": subset if split.images_per_class else None})


def _reason(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")
