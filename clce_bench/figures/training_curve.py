"""Validation accuracy by epoch: whether every loss was trained until nothing changed any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clce_bench.components.loss_info import loss_order
from clce_bench.experiment.figure_options import Figure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, in_legends, keep_to_percent, legend_below, loss_style, panel_title
from clce_bench.labels import setting_label, supervised_loss

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


ACROSS = 3
"""How many panels stand side by side at most."""


class TrainingCurve(Figure):
    """A panel per data set and batch size with a curve per loss and λ."""

    @property
    def column(self) -> str:
        """What runs from left to right."""
        return "epoch"

    def draw(self, source: Source) -> Drawing:
        """Draws a panel per data set and batch size with a curve per loss and λ."""
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        from clce_bench.analysis.summary_rows import PLACE

        data = by_epoch(source)
        groups = list(data.groupby(PLACE, dropna=False))
        down = -(-len(groups) // ACROSS)
        shape = (down, -(-len(groups) // down))
        size = (5.2 * shape[1], 3.6 * shape[0])
        figure, panels = plt.subplots(*shape, figsize=size, squeeze=False, sharey=True)
        for axes in panels.flat[len(groups) :]:
            axes.remove()
        for axes, (_, group) in zip(panels.flat, groups, strict=False):
            curves(axes, group, "epoch")
            axes.set_title(panel_title(group, data), fontsize=10)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            keep_to_percent(axes)
        for axes in panels[:, 0]:
            axes.set_ylabel("validation accuracy (%)")
        legend_below(figure, panels[0, 0])
        figure.suptitle(f"{data_names(source.rows)}: validation accuracy by epoch")
        caption = (
            f"{data_names(source.rows)}: validation accuracy by epoch, {source.seeds}; means with bands of 95 % "
            "intervals. A curve that still rises at its end was not trained to its end."
        )
        return Drawing(figure, data, caption)


def by_epoch(source: Source) -> pd.DataFrame:
    """Averages validation accuracy over seeds.

    Returns:
        A row per setting and epoch with ``mean``, ``low`` and ``high`` in per cent, ``n``, and ``elapsed``, the mean
        seconds from the start of training.
    """
    import pandas as pd

    from clce_bench.analysis.intervals import mean_interval
    from clce_bench.analysis.summary_rows import PLACE

    history = source.history[["cell", "epoch", "seconds", "validation"]]
    timed = history.merge(source.rows[["cell", *PLACE, "loss", "lambda"]], on="cell")
    records = []
    keys = [*PLACE, "loss", "lambda", "epoch"]
    for key, group in timed.groupby(keys, dropna=False):
        interval = mean_interval(100 * group["validation"])
        records.append({**dict(zip(keys, key, strict=True)), **interval._asdict(), "elapsed": group["seconds"].mean()})
    in_order = sorted(records, key=lambda record: loss_order(supervised_loss(record["loss"])))  # Stable.
    return pd.DataFrame(in_order)


def curves(axes: Axes, course: pd.DataFrame, across: str) -> None:
    """Draws a curve with a band per loss and λ.

    Args:
        axes: where.
        course: from :func:`by_epoch`.
        across: ``epoch`` or ``elapsed``.
    """
    styles = loss_style(list(course["loss"].unique()))
    for (loss, _), curve in course.groupby(["loss", "lambda"], sort=False):
        style = {**styles[str(loss)], "label": in_legends(setting_label(str(loss), curve["lambda"].iloc[0]))}
        axes.plot(curve[across], curve["mean"], markersize=4, **style)
        axes.fill_between(curve[across], curve["low"], curve["high"], color=style["color"], alpha=0.08, linewidth=0)
