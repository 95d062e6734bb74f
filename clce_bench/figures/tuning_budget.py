"""Accuracy against tuning budget: does the winner change with how many settings may be tried?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import (
    data_names,
    keep_to_percent,
    legend_below,
    loss_style,
    panel_title,
    sentence_figure,
)
from clce_bench.planning.figure_cells import varying_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class TuningBudget(MetricFigure):
    """A row per data set and batch size: what each loss reaches with 1, 2, … trials, by validation and on test."""

    one_metric = True
    from_training: ClassVar[bool] = True

    def lacking(self, cells: list[Cell]) -> str:
        """Needs trials."""
        return "" if varying_axes(cells) else "it needs losses with several settings each."

    def draw(self, source: Source) -> Drawing:
        """Draws the expected best of n trials of each loss; test accuracy where the trials were measured there."""
        import matplotlib.pyplot as plt

        from clce_bench.analysis.summary_rows import PLACE
        from clce_bench.analysis.tuning_budget import by_budget, leaders

        metric = next(iter(self.columns(source.rows)), None)
        data = by_budget(source.rows, metric)
        if data.empty:
            return sentence_figure(f"No trial of {', '.join(self.grid)} has run.")
        titles = {"validation": "validation accuracy (%)"} | ({"test": metric_label(metric)} if metric else {})
        groups = [group for _, group in data.groupby(PLACE, dropna=False)]
        size = (0.5 + 4.3 * len(titles), 0.6 + 3.3 * len(groups))
        figure, panels = plt.subplots(len(groups), len(titles), figsize=size, squeeze=False, sharey="col")
        told = []
        for group, row in zip(groups, panels, strict=True):
            place = panel_title(group, data)
            for axes, (column, title) in zip(row, titles.items(), strict=True):
                _curves(axes, group, column)
                axes.set_title(place, fontsize=10)
                axes.set_ylabel(title)
                keep_to_percent(axes)
                told.append(f"{f'{place}, ' if len(groups) > 1 else ''}{title}: {leaders(group, column)}.")
        legend_below(figure, panels[0, 0])
        figure.suptitle(f"{data_names(source.rows)}: accuracy against tuning budget")
        caption = (
            f"{data_names(source.rows)}: what is to be expected of the best of n trials of each loss, drawn at random "
            "from those that were run (Dodge et al., 2019; in closed form, without replacement). Bands are one "
            "standard deviation over which trials are drawn. "
            + ("Test accuracy is that of the trial that validation prefers. " if metric else "")
            + f"Ahead: {' '.join(told)} Trials have seeds and images in common, and no interval: a lead of a point may "
            "turn with other seeds."
        )
        return Drawing(figure, data, caption)


def _curves(axes: Axes, group: pd.DataFrame, column: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for loss, style in loss_style(list(group["loss"].unique())).items():
        own = group[group["loss"] == loss]
        axes.plot(own["trials"], own[column], **style)
        if column == "validation":
            low, high = own[column] - own["spread"], own[column] + own["spread"]
            axes.fill_between(own["trials"], low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.set_xlabel("trials")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
