"""What runs are called in MLflow, and the numbers that the parent run shows."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from clce_bench.experiment.cells import Cell
from clce_bench.labels import axis_label, data_label, is_main, setting_label, value_label
from clce_bench.planning.figure_cells import varying_axes

_SHOWN = {"lambda", "images_per_class"}
"""Axes that the setting or the data set shows by itself."""
_FOLDS = ("fold", "test_fold", "class_fold")


def run_names(cells: list[Cell]) -> dict[str, str]:
    """Names each cell for people: its data set, its loss, what varies among these cells, its seed.

    Args:
        cells: of an experiment.

    Returns:
        Such as ``digits: CLCE, λ = 0.9, batch size 64, seed 1``, by the cell's name.
    """
    varying = [axis for axis in varying_axes(cells) if axis not in _SHOWN]
    varying += [axis for axis in _FOLDS if len({cell.axes.get(axis) for cell in cells}) > 1]
    return {cell.name: _run_name(cell, varying) for cell in cells}


def _run_name(cell: Cell, varying: Iterable[str]) -> str:
    axes = cell.axes
    # An axis that this cell does not have is absent or NaN.
    known = [axis for axis in varying if axis in axes and axes[axis] == axes[axis]]
    told = [f"{axis_label(axis)} {value_label(axes[axis])}" for axis in known]
    setting = [setting_label(cell.loss_name, cell.contrastive_weight), *told, f"seed {cell.seed}"]
    return f"{data_label(cell.dataset, axes['images_per_class'])}: {', '.join(setting)}"


def headline_metrics(folder: Path, grid: str) -> dict[str, float]:
    """Lists the means of the headline grid's main metrics.

    Args:
        folder: the experiment's.
        grid: the headline grid.

    Returns:
        Such as ``top1/digits CLCE lambda 0.9 batch 64``, by names that MLflow allows; empty before there are results.
    """
    path = folder / "comparisons.parquet"
    table = pd.read_parquet(path) if path.exists() else pd.DataFrame({"grid": [], "metric": []})
    found: dict[str, float] = {}
    for row in table[table["grid"] == grid].to_dict("records"):
        if is_main(row["metric"]) and row["mean"] == row["mean"]:
            setting = setting_label(row["loss"], row["lambda"]).replace("λ =", "lambda")
            name = f"{row['metric'].removeprefix('metric.')}/{row['dataset']} {setting} batch {row['batch_size']}"
            found.setdefault(re.sub(r"[^\w\-. /]", "", name, flags=re.ASCII), float(row["mean"]))
    return found
