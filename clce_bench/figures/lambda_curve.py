"""Accuracy against λ: from cross-entropy alone (0) to the contrastive loss alone (1)."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import AXES, DATA, compare, metrics_of
from clce_bench.figures.style import data_names, loss_style, zero_line
from clce_bench.labels import metric_label


def draw(rows: pd.DataFrame, _history: pd.DataFrame) -> Figure:
    """Draws a row of panels per metric: accuracy, and difference to λ = 0.

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
        gain.set_ylabel(f"difference to λ = 0,\n{metric_label(metric, 'points')}")
    for axes in panels[-1]:
        axes.set_xlabel("λ, weight of the contrastive loss")
    panels[0, 0].legend()
    seeds = rows.groupby(AXES, dropna=False)["seed"].nunique().min()
    figure.suptitle(f"{data_names(rows)}: accuracy against λ (mean and 95 % interval, at least {seeds} seeds)")
    return figure


def _curves(axes: Axes, table: pd.DataFrame, columns: tuple[str, str, str]) -> None:
    mean, low, high = columns
    losses = [name for name in table["loss"].unique() if name != "ce"]
    styles = loss_style(losses)
    for (*_, batch_size), group in table.groupby([*DATA, "batch_size"], dropna=False):
        start = group[group["loss"] == "ce"]
        for name in losses:
            # λ = 0 is cross-entropy, the same cells for every loss.
            curve = pd.concat([start, group[group["loss"] == name]]).sort_values("lambda").dropna(subset=[mean])
            style = {**styles[name], "label": f"{styles[name]['label']}, {data_names(group)}, batch {batch_size}"}
            axes.errorbar(
                curve["lambda"], curve[mean], [curve[mean] - curve[low], curve[high] - curve[mean]], capsize=3, **style
            )
