"""Which cells a figure shows, checked when the experiment is read; and what varies among cells."""

from collections.abc import Iterable, Mapping
from typing import Any

from clce_bench.components.hyperparameters import hyperparameters_of
from clce_bench.components.loss_info import WITHOUT_CODE, loss_order
from clce_bench.components.registry import loss_path
from clce_bench.errors import UserError, unknown
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.figure_options import Figure
from clce_bench.labels import supervised_loss


def cells_of_figure(figure: Figure, grids: dict[str, list[Cell]]) -> list[Cell]:
    """Lists the cells that a figure shows, sorted by name.

    Args:
        figure: its options.
        grids: cells of each grid.

    Raises:
        UserError: ``where`` names an axis or a value that no cell has, or the figure needs other cells.
    """
    members = {cell.name: cell for grid in figure.grid for cell in grids[grid]}
    cells = [members[name] for name in sorted(members)]
    axes = [cell.axes for cell in cells]
    for axis, values in figure.where.items():
        present = {found[axis] for found in axes if axis in found}
        if not present:
            names = sorted({name for found in axes for name in found})
            raise UserError(f"figures: {figure.name}: where: {unknown('an axis of these cells', axis, names)}")
        for value in values:
            if value not in present:
                allowed = ", ".join(sorted(map(str, present)))
                raise UserError(f"figures: {figure.name}: where.{axis}: no cell has {value!r}. Allowed: {allowed}.")
    shown = [cell for cell, found in zip(cells, axes, strict=True) if matches(found, figure.where)]
    lacking = figure.lacking(shown)
    if lacking:
        raise UserError(f"figures: {figure.name}: {lacking} Grids: {', '.join(figure.grid)}.")
    return shown


def matches(axes: Mapping[Any, Any], where: dict[str, list[Any]]) -> bool:
    """Says whether a cell is shown. An axis that a cell does not have, such as λ of cross-entropy, does not count.

    Args:
        axes: of a cell, or its row of the summary.
        where: allowed values by axis.
    """
    for axis, values in where.items():
        value = axes.get(axis)
        absent = value is None or value != value or (axis == "lambda" and axes["loss"] in WITHOUT_CODE)
        if not absent and value not in values:
            return False
    return True


def varying_axes(cells: list[Cell]) -> list[str]:
    """Lists what varies among the cells beside loss, data set and the runs of a setting: seed and folds."""
    found = [cell.axes for cell in cells]
    names = sorted(
        {name for axes in found for name in axes} - {"loss", "seed", "fold", "test_fold", "class_fold", "dataset"}
    )
    # Each loss and data set by itself: a temperature of its own is no sweep, and cross-entropy's λ of 0 no second λ.
    groups = {(axes["loss"], axes["dataset"]) for axes in found}
    return [name for name in names if any(_values(found, name, *group) > 1 for group in groups)]


def _values(found: list[dict[str, Any]], name: str, loss: str, dataset: str) -> int:
    own = [axes[name] for axes in found if name in axes and (axes["loss"], axes["dataset"]) == (loss, dataset)]
    return len({value for value in own if value == value})


def embedded_cells(cells: list[Cell]) -> list[Cell]:
    """Chooses the cells whose embeddings are set side by side: one per loss and λ, equal in everything else.

    Returns:
        Those of the first data set, batch size and seed that have the most losses, cross-entropy first. Of a loss with
        several settings the one with the most hyper-parameters at their defaults.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.dataset, cell.backbone.name, cell.split.model_dump_json(), cell.batch_size, cell.seed)
        groups.setdefault(key, []).append(cell)
    if not groups:
        return []
    best = max(len(settings(group)) for group in groups.values())
    key = min(key for key, group in groups.items() if len(settings(group)) == best)
    chosen = settings(sorted(groups[key], key=_changed)).values()
    return sorted(chosen, key=_order)


def _order(cell: Cell) -> tuple[bool, int, str, float]:
    place = loss_order(supervised_loss(cell.loss_name))
    return cell.contrastive_weight > 0, place, cell.loss_name, cell.contrastive_weight


def settings(cells: Iterable[Cell]) -> dict[tuple[str, float], Cell]:
    """Returns the first cell of each loss and λ."""
    found: dict[tuple[str, float], Cell] = {}
    for cell in cells:
        found.setdefault((cell.loss_name, cell.contrastive_weight), cell)
    return found


def _changed(cell: Cell) -> int:
    """Counts the hyper-parameters that are not at the loss's defaults."""
    if cell.contrastive_weight == 0:
        return 0
    return sum(
        cell.loss.hyperparameters[key] != value for key, value in hyperparameters_of(loss_path(cell.loss.name)).items()
    )
