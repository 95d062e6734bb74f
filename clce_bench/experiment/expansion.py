"""From an experiment to its cells: the product of the axes of every grid."""

from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

from pydantic import ValidationError

from clce_bench.components.hyperparameters import EMBEDDING_SIZE, as_default, hyperparameters_of, is_self_supervised
from clce_bench.components.loss_info import NO_TRAINING, WITHOUT_CODE
from clce_bench.components.registry import load_dataset, loss_path
from clce_bench.errors import UserError
from clce_bench.experiment.backbone_options import Backbone
from clce_bench.experiment.cells import Cell, LossSpec
from clce_bench.experiment.dataset_options import DatasetOptions, Split
from clce_bench.experiment.grid_checks import check_grids
from clce_bench.experiment.hazards import Hazard, apply_hazards
from clce_bench.experiment.recipe_values import lay_over
from clce_bench.experiment.recipes import Recipe
from clce_bench.experiment.schema import Experiment, Grid, Loss
from clce_bench.experiment.search_trials import Choices, parts_of


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
    label_noise: float


def expand(experiment: Experiment, grid: Grid) -> Iterator[Cell]:
    """Yields the cells of a grid that searches nothing."""
    for point in _points(experiment, grid):
        yield _cell(experiment, grid, point)


def _points(experiment: Experiment, grid: Grid) -> Iterator[_Point]:
    parts = {name: getattr(grid, name) for name in ("fold", "test_fold", "class_fold", "images_per_class")}
    parts["seed"] = grid.split_seed
    splits = list(_alternatives({key: values for key, values in parts.items() if values}))
    backbones = list(_backbones(experiment, grid))
    for dataset, asked, weight in product(grid.dataset, grid.loss, grid.contrastive_weight):
        loss = Loss(name="ce") if weight == 0 and asked.name != NO_TRAINING else asked
        losses, recipes = _losses(experiment, loss), _recipes(experiment, grid, dataset, loss)
        for own, recipe in product(losses, recipes):
            axes = product(backbones, grid.batch_size, grid.seeds, splits, grid.label_noise)
            for backbone, size, seed, split, noise in axes:
                own_weight = 0.0 if own.name in WITHOUT_CODE else weight
                yield _Point(dataset, backbone, own, own_weight, size, seed, split, recipe, noise)


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
    if given.get(EMBEDDING_SIZE) is ...:
        del given[EMBEDDING_SIZE]  # Training says it.
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
        experiment.options_of(dataset).recipe,
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
    options = experiment.options_of(point.dataset)
    recipe, weight = point.recipe, point.contrastive_weight
    augmentation = recipe.augmentation or options.augmentation
    applied = apply_hazards(grid.hazards, point.loss.name, weight, recipe, augmentation)
    if Hazard.SCALED_SUPCON in applied.hazards and point.loss.hyperparameters["temperature"] == "learned":
        raise UserError(f"grids: {grid.name}: hazards: scaled-supcon is not allowed where the temperature is learned.")
    own_support = applied.augmentation != options.augmentation and load_dataset(point.dataset).task == "few-shot"
    changed = {"split": _split(grid, options, point), "support": options.augmentation if own_support else None}
    return Cell(**{**point._asdict(), "size": options.size, "groups": options.groups, **changed, **applied._asdict()})


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
