"""Difference of each loss to cross-entropy: the answer at a glance."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import compare, metrics_of
from clce_bench.figures.style import loss_style
from clce_bench.labels import metric_label


def draw(rows: pd.DataFrame, _history: pd.DataFrame) -> Figure:
    """Draws a panel per metric with a row per loss: the mean paired difference and its interval.

    Args:
        rows: cells of one grid, from the summary.
    """
    metrics = metrics_of(rows)
    tables = [compare(rows, metric).dropna(subset=["difference"]) for metric in metrics]
    height = 1.3 + 0.35 * max(len(table) for table in tables)
    figure, panels = plt.subplots(1, len(metrics), figsize=(4.5 * len(metrics), height), squeeze=False, sharey=True)
    for axes, metric, table in zip(panels[0], metrics, tables, strict=True):
        axes.axvline(0, color="#000000", linewidth=0.8)
        styles = loss_style(list(table["loss"].unique()))
        names = []
        for position, row in enumerate(table.to_dict("records")):
            style = styles[row["loss"]]
            interval = [[row["difference"] - row["difference_low"]], [row["difference_high"] - row["difference"]]]
            axes.errorbar(row["difference"], position, xerr=interval, capsize=3, linestyle="none", **style)
            names.append(f"{style['label']}, λ = {row['lambda']:g}, batch {row['batch_size']}")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(f"difference to CE, {metric_label(metric, 'points')}")
    pairs = int(min(table["pairs"].min() for table in tables))
    figure.suptitle(f"{', '.join(sorted(rows['dataset'].unique()))}: loss minus CE ({pairs} pairs, 95 % interval)")
    return figure
