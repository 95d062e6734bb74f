"""Accuracy against training time: a better end, or only a faster start?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, keep_to_percent, legend_below, loss_style, panel_title
from clce_bench.figures.training_curve import by_epoch, curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class AccuracyCost(MetricFigure):
    """A row per data set and batch size: validation accuracy while training, test accuracy at the end."""

    one_metric = True

    def draw(self, source: Source) -> Drawing:
        """Draws a row per data set and batch size: validation accuracy while training, test accuracy at the end."""
        import matplotlib.pyplot as plt
        import pandas as pd

        from clce_bench.analysis.summary_rows import PLACE

        rows, metric = source.rows, self.columns(source.rows)[0]
        course = by_epoch(source).assign(panel="validation while training")
        end = _end(rows, metric).assign(panel=metric_label(metric))
        groups = list(course.groupby(PLACE, dropna=False))
        size = (9, 0.4 + 3.3 * len(groups))
        figure, panels = plt.subplots(len(groups), 2, figsize=size, squeeze=False, sharey="col")
        for (left, right), (key, group) in zip(panels, groups, strict=True):
            curves(left, group, "elapsed")
            own = end[(end[PLACE].fillna(-1) == pd.Series(key, index=PLACE).fillna(-1)).all(axis=1)]
            _points(right, own.dropna(subset="mean"))
            for axes in (left, right):
                axes.set_title(panel_title(group, course), fontsize=10)
            left.set_ylabel("validation accuracy (%)")
            right.set_ylabel(f"{metric_label(metric)} at the end")
            left.set_xlabel("seconds of training so far")
            right.set_xlabel("seconds of training in all")
            keep_to_percent(left)
            keep_to_percent(right)
            if own["mean"].isna().all():  # A metric of other data sets.
                right.remove()
        legend_below(figure, panels[0, 0])
        figure.suptitle(f"{data_names(rows)}: accuracy against training time")
        caption = (
            f"{data_names(rows)}: accuracy against training time, {source.seeds}. Left: validation accuracy against "
            f"the mean seconds spent by the end of each epoch. Right: {metric_label(metric)} against the mean seconds "
            "of the whole training, on the machine that trained. Bands and bars are 95 % intervals. A loss that only "
            "starts faster leads on the left and not on the right."
        )
        return Drawing(figure, pd.concat([course, end], ignore_index=True), caption)


def _end(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    from clce_bench.analysis.comparisons import compare
    from clce_bench.analysis.summary_rows import PLACE

    keys = [*PLACE, "loss", "lambda"]
    seconds = rows.groupby(keys, dropna=False, as_index=False).agg(elapsed=("train_seconds", "mean"))
    table = compare(rows, metric)
    return table[[*keys, "mean", "low", "high", "n"]].merge(seconds, on=keys)


def _points(axes: Axes, end: pd.DataFrame) -> None:
    styles = loss_style(list(end["loss"].unique()))
    for row in end.to_dict("records"):
        interval = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        style = {**styles[row["loss"]], "linestyle": "none"}
        axes.errorbar(row["elapsed"], row["mean"], interval, capsize=3, markersize=6, **style)
