"""Difference of each loss to cross-entropy: the answer at a glance."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import AXES, DATA, compare, metrics_of
from clce_bench.figures.style import data_names, empty_figure, loss_style
from clce_bench.labels import data_label, metric_label


def draw(rows: pd.DataFrame, _history: pd.DataFrame) -> Figure:
    """Draws a panel per metric with a row per setting: the mean paired difference and its interval.

    Args:
        rows: cells of one grid, from the summary.
    """
    tables = {metric: compare(rows, metric).dropna(subset=["difference"]) for metric in metrics_of(rows)}
    settings = pd.concat([table[AXES] for table in tables.values()]).drop_duplicates().reset_index(drop=True)
    if settings.empty:
        return empty_figure("No loss has a cross-entropy run at the same seed and batch size.")
    styles = loss_style(list(settings["loss"].unique()))
    height = 1.3 + 0.35 * len(settings)
    figure, panels = plt.subplots(1, len(tables), figsize=(4.5 * len(tables), height), squeeze=False, sharey=True)
    for axes, (metric, table) in zip(panels[0], tables.items(), strict=True):
        axes.axvline(0, color="#000000", linewidth=0.8)
        # All panels have the same rows, though a metric may lack some (no classifier at λ = 1).
        for row in settings.reset_index(names="position").merge(table, on=AXES).to_dict("records"):
            interval = [[row["difference"] - row["difference_low"]], [row["difference_high"] - row["difference"]]]
            style = styles[row["loss"]]
            axes.errorbar(row["difference"], row["position"], xerr=interval, capsize=3, linestyle="none", **style)
        axes.set_xlabel(f"difference to CE, {metric_label(metric, 'points')}")
    several = len(settings[DATA].drop_duplicates()) > 1
    names = [
        f"{styles[row['loss']]['label']}, λ = {row['lambda']:g}, batch {row['batch_size']}"
        + (f", {data_label(*(row[axis] for axis in DATA))}" if several else "")
        for row in settings.to_dict("records")
    ]
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    pairs = int(min(table["pairs"].min() for table in tables.values() if len(table)))
    figure.suptitle(f"{data_names(rows)}: loss minus CE (at least {pairs} pairs, 95 % interval)")
    return figure
