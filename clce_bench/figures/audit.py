"""Where does the gain come from? Differences to cross-entropy without and with hazards, and what each one changes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clce_bench.evaluation.audit import PLACE, audit_of
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, legend_below, loss_style, panel_title, sentence_figure
from clce_bench.labels import metric_label, setting_label

WIDTH = 0.22
"""Distance of two losses within a row, in rows."""


def draw(source: Source) -> Drawing:
    """Draws a row of two panels per data set and batch size: the differences, and how much the hazards change them."""
    metric, grids = source.metrics[0], source.options.grid
    data = audit_of(source.rows, grids, metric).dropna(subset=["difference"])
    if data.empty:
        return sentence_figure("No loss has a cross-entropy run at the same seed and batch size.")
    groups = [group for _, group in data.groupby(PLACE, dropna=False)]
    height = 0.8 + 0.5 * len(grids)
    figure, panels = plt.subplots(
        len(groups), 2, figsize=(10, 0.6 + height * len(groups)), squeeze=False, sharey=True, layout="constrained"
    )
    for group, (differences, changes) in zip(groups, panels, strict=True):
        for axes, name in ((differences, "difference"), (changes, "change")):
            axes.axvline(0, color="#000000", linewidth=0.8)
            _points(axes, group, grids, name)
        differences.set_title(panel_title(group, data), fontsize=10)
        changes.set_title(f"change against {grids[0]}", fontsize=10)
        differences.set_xlabel(f"loss − CE, {metric_label(metric, 'points')}")
        changes.set_xlabel(metric_label(metric, "points"))
        differences.set_yticks(range(len(grids)), grids)
        differences.set_ylim(len(grids) - 0.5, -0.5)
    legend_below(figure, panels[0, 0])
    figure.suptitle(f"{data_names(source.rows)}: where does the gain come from?")
    broken = data[data["hazards"] != ""].drop_duplicates("grid")
    meaning = "; ".join(
        f"{row['grid']}: {row['hazards']}" for row in broken.to_dict("records") if row["grid"] != row["hazards"]
    )
    caption = (
        f"{data_names(source.rows)}: each loss minus cross-entropy, {metric_label(metric, 'points')}, {source.seeds}. "
        f"Left: the difference in {grids[0]} and with each hazard, with its 95 % interval; the grey line is the "
        "interval that one gets by pooling the test images or episodes of all seeds as if they were independent. "
        f"Right: by how much the difference differs from that in {grids[0]}, paired over seeds and images, with its "
        f"interval; one that contains 0 shows no effect.{f' Hazards: {meaning}.' if meaning else ''}"
    )
    return Drawing(figure, data, caption)


def _points(axes: Axes, table: pd.DataFrame, grids: list[str], name: str) -> None:
    settings = list(dict.fromkeys(zip(table["loss"], table["lambda"], strict=True)))
    styles = loss_style([str(loss) for loss, _ in settings])
    shifts = WIDTH * (np.arange(len(settings)) - (len(settings) - 1) / 2)
    for (loss, weight), shift in zip(settings, shifts, strict=True):
        own = table[(table["loss"] == loss) & (table["lambda"] == weight)].dropna(subset=[name])
        places = [grids.index(grid) + shift for grid in own["grid"]]
        if name == "difference":
            axes.hlines([place + WIDTH / 3 for place in places], own["pooled_low"], own["pooled_high"], color="#8a8a8a")
        interval = [own[name] - own[f"{name}_low"], own[f"{name}_high"] - own[name]]
        style = {**styles[loss], "linestyle": "none", "label": setting_label(loss, weight)}
        axes.errorbar(own[name], places, xerr=interval, capsize=2, markersize=5, **style)
