"""Accuracy against batch size, for each loss."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import AXES, DATA, compare, metrics_of
from clce_bench.figures.style import data_names, loss_style, zero_line
from clce_bench.labels import metric_label


def draw(rows: pd.DataFrame, _history: pd.DataFrame) -> Figure:
    """Draws a row of panels per metric: accuracy, and difference to cross-entropy at the same batch size.

    Args:
        rows: cells of one grid, from the summary.
    """
    metrics = metrics_of(rows)
    figure, panels = plt.subplots(len(metrics), 2, figsize=(9, 3.1 * len(metrics)), squeeze=False, sharex=True)
    for metric, (accuracy, gain) in zip(metrics, panels, strict=True):
        table = compare(rows, metric)
        _curves(accuracy, table, ("mean", "low", "high"))
        zero_line(gain)
        _curves(gain, table, ("difference", "difference_low", "difference_high"))
        accuracy.set_ylabel(metric_label(metric))
        gain.set_ylabel(f"difference to CE,\n{metric_label(metric, 'points')}")
    sizes = sorted(rows["batch_size"].unique())
    for axes in panels.flat:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    for axes in panels[-1]:
        axes.set_xlabel("batch size (images)")
    panels[0, 0].legend(ncols=2, fontsize=8)
    seeds = rows.groupby(AXES, dropna=False)["seed"].nunique().min()
    figure.suptitle(f"{data_names(rows)}: accuracy against batch size (mean and 95 % interval, at least {seeds} seeds)")
    return figure


def _curves(axes: Axes, table: pd.DataFrame, columns: tuple[str, str, str]) -> None:
    mean, low, high = columns
    losses = list(table["loss"].unique())
    # Points of different losses stand side by side, or their intervals could not be told apart.
    shifts = dict(zip(losses, np.linspace(-0.16, 0.16, len(losses)), strict=True))
    for name, style in loss_style(losses).items():
        for _, curve in table[table["loss"] == name].dropna(subset=[mean]).groupby([*DATA, "lambda"], dropna=False):
            interval = [curve[mean] - curve[low], curve[high] - curve[mean]]
            axes.errorbar(
                curve["batch_size"] * 2 ** shifts[name], curve[mean], interval, capsize=2, markersize=4, **style
            )
