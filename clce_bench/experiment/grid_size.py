"""How many cells an experiment asks for, counted before any is made."""

from math import prod
from typing import Any

from clce_bench.errors import UserError
from clce_bench.experiment.schema import Experiment, Grid, Loss

MOST_CELLS = 100_000


def check_size(experiment: Experiment) -> None:
    """Refuses what nobody means: the product of lists grows fast.

    Raises:
        UserError: a grid asks for more than :data:`MOST_CELLS`.
    """
    for grid in experiment.grids:
        if (count := cell_count(experiment, grid)) > MOST_CELLS:
            raise UserError(f"grids: {grid.name}: asks for {count:,} cells; allowed: at most {MOST_CELLS:,}.")


def cell_count(experiment: Experiment, grid: Grid) -> int:
    """Multiplies the lengths of a grid's lists: its cells, those that turn out to be equal counted each."""
    weights = [weight > 0 for weight in grid.contrastive_weight]
    axes = (grid.batch_size, grid.seeds, grid.backbone, grid.fold, grid.split_seed, grid.images_per_class)
    trials = grid.tuning.trials if grid.tuning else 1
    each = sum(
        _recipes(experiment, grid, dataset, loss) * (_losses(experiment, loss) if fused else 1)
        for dataset in grid.dataset
        for loss in grid.loss
        for fused in weights
    )
    return trials * each * len(grid.label_noise) * prod(max(len(axis), 1) for axis in axes)


def _losses(experiment: Experiment, loss: Loss) -> int:
    preset = experiment.losses.get(loss.name, Loss())
    labels = loss.labels or preset.labels
    return _product({**preset.hyperparameters, **loss.hyperparameters}) * max(len(labels), 1)


def _recipes(experiment: Experiment, grid: Grid, dataset: str, loss: Loss) -> int:
    options = experiment.options_of(dataset)
    preset = experiment.losses.get(loss.name, Loss())
    return _product({**options.recipe, **preset.recipe, **loss.recipe, **grid.recipe})


def _product(values: dict[str, Any]) -> int:
    return prod(len(value) for value in values.values() if isinstance(value, list))
