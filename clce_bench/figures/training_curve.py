"""Validation accuracy by epoch: whether every loss was trained until nothing changed any more."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import DATA
from clce_bench.evaluation.statistics import mean_interval
from clce_bench.figures.style import data_names, loss_style


def draw(rows: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Draws a panel per data set and batch size with a curve per loss.

    Args:
        rows: cells of one grid, from the summary.
        history: a row per epoch of every cell.
    """
    curves = history[["cell", "epoch", "validation"]]
    merged = curves.merge(rows[["cell", *DATA, "batch_size", "loss"]], on="cell")
    groups = list(merged.groupby([*DATA, "batch_size"], dropna=False))
    figure, panels = plt.subplots(1, len(groups), figsize=(5.2 * len(groups), 3.6), squeeze=False)
    for axes, ((*_, batch_size), group) in zip(panels[0], groups, strict=True):
        for name, style in loss_style(list(group["loss"].unique())).items():
            by_epoch = group[group["loss"] == name].groupby("epoch")["validation"]
            curve = pd.DataFrame([mean_interval(100 * values) for _, values in by_epoch])
            epochs = [epoch for epoch, _ in by_epoch]
            axes.plot(epochs, curve["mean"], markersize=4, **style)
            axes.fill_between(epochs, curve["low"], curve["high"], color=style["color"], alpha=0.12, linewidth=0)
        axes.set_title(f"{data_names(group)}, batch {batch_size}")
        axes.set_xlabel("epoch")
    panels[0, 0].set_ylabel("validation accuracy (%)")
    panels[0, 0].legend()
    figure.suptitle("Training (mean and 95 % interval over seeds)")
    return figure
