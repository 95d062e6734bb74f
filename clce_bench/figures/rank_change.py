"""Does the ranking of the losses survive? Accuracy and rank in two grids, such as default and tuned settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, legend_below, loss_style, panel_title, sentence_figure
from clce_bench.planning.figure_cells import settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class RankChange(MetricFigure):
    """A row per data set and batch size: means in both grids, and what changes for each loss."""

    one_metric = True
    tabled = True

    @model_validator(mode="after")
    def _two_grids(self) -> Self:
        if len(self.grid) != 2:
            raise ValueError("grid: rank_change needs two, the one before and the one after.")
        return self

    def lacking(self, cells: list[Cell]) -> str:
        """Needs two settings."""
        return "" if len(settings(cells)) > 1 else "it needs at least two losses or values of λ."

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Gives the ranks by the first metric as text, with the metric."""
        import pandas as pd

        from clce_bench.analysis.rankings import ranks_of, ranks_text

        for metric in self.columns(rows)[:1]:
            text = ranks_text(ranks_of(rows, self.grid, metric))
            text.insert(0, "metric", metric_label(metric))
            return text
        return pd.DataFrame()

    def draw(self, source: Source) -> Drawing:
        """Draws a row of panels per data set and batch size: means in both grids, and what changes for each loss."""
        import matplotlib.pyplot as plt

        from clce_bench.analysis.rankings import ranks_of
        from clce_bench.analysis.summary_rows import PLACE

        metric, grids = self.columns(source.rows)[0], self.grid
        data = ranks_of(source.rows, grids, metric)
        if data.empty:
            return sentence_figure(f"No loss has results in both {grids[0]} and {grids[1]}.")
        groups = [group for _, group in data.groupby(PLACE, dropna=False)]
        size = (10, 0.6 + 3.6 * len(groups))
        figure, panels = plt.subplots(len(groups), 2, figsize=size, squeeze=False, sharex="col")
        for group, (slopes, changes) in zip(groups, panels, strict=True):
            styles = loss_style(group["loss"].tolist())
            _slopes(slopes, group, styles, grids)
            slopes.set_ylabel(f"rank by mean {metric_label(metric)}")
            slopes.set_title(panel_title(group, data), fontsize=10)
            changes.axvline(0, color="#000000", linewidth=0.8)
            for place, row in enumerate(group.to_dict("records")):
                interval = [[row["change"] - row["change_low"]], [row["change_high"] - row["change"]]]
                changes.errorbar(
                    row["change"], place, xerr=interval, capsize=3, **{**styles[row["loss"]], "linestyle": "none"}
                )
            changes.set_yticks(range(len(group)), [styles[loss]["label"] for loss in group["loss"]])
            changes.set_ylim(len(group) - 0.5, -0.5)
            changes.set_xlabel(f"{grids[1]} − {grids[0]}, {metric_label(metric, 'points')}")
        legend_below(figure, panels[0, 0])
        figure.suptitle(f"{data_names(source.rows)}: {grids[0]} and {grids[1]} settings")
        caption = (
            f"{data_names(source.rows)}: {metric_label(metric)} of each loss in {grids[0]} and {grids[1]}, "
            f"{source.seeds}. Left: ranks by the mean, which stands beside them; 1 is best. Ranks have no interval: a "
            f"difference of a few tenths may turn with other seeds. Right: {grids[1]} minus {grids[0]}, paired over "
            "seeds and images, with its 95 % interval; one that contains 0 shows no change."
        )
        return Drawing(figure, data, caption)


def _slopes(axes: Axes, table: pd.DataFrame, styles: dict[str, dict[str, Any]], grids: list[str]) -> None:
    from clce_bench.analysis.rankings import SIDES

    for row in table.to_dict("records"):
        axes.plot([0, 1], [row[f"{side}_rank"] for side in SIDES], markersize=7, **styles[row["loss"]])
        for x, side, align in ((-0.06, "before", "right"), (1.06, "after", "left")):
            axes.annotate(f"{row[side]:.1f}", (x, row[f"{side}_rank"]), ha=align, va="center", fontsize=9)
    axes.set_xticks([0, 1], grids)
    axes.set_xlim(-0.35, 1.35)
    axes.set_yticks(range(1, len(table) + 1))
    axes.set_ylim(len(table) + 0.5, 0.5)
