"""Every loss against every other: a matrix of paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, panel_title, sentence_figure
from clce_bench.planning.figure_cells import settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


SETTINGS = 12
"""How many settings a matrix shows at most."""


class DifferenceMatrix(MetricFigure):
    """A matrix per data set, backbone and batch size: row minus column, with its interval."""

    one_metric = True

    def lacking(self, cells: list[Cell]) -> str:
        """Needs two settings."""
        return "" if len(settings(cells)) > 1 else "it needs at least two losses or values of λ."

    def draw(self, source: Source) -> Drawing:
        """Draws a matrix per data set, backbone and batch size: row minus column, with its interval."""
        import matplotlib.pyplot as plt

        from clce_bench.analysis.comparisons import compare_pairs
        from clce_bench.analysis.summary_rows import PLACE

        metric = self.columns(source.rows)[0]
        data = compare_pairs(source.rows, metric).dropna(subset=["difference"])
        tables = [table for _, table in data.groupby(PLACE, dropna=False)]
        if not tables:
            return sentence_figure("No two losses share a data set, a batch size and a seed.")
        largest_table = max(len(_names(table)) for table in tables)
        if largest_table > SETTINGS:
            many = f"A matrix shows {SETTINGS} settings at most, here are {largest_table}; choose with where."
            return sentence_figure(many)
        side = 1.05 * largest_table
        figure, panels = plt.subplots(1, len(tables), figsize=((side + 2) * len(tables), side + 1), squeeze=False)
        scale = 2 * float(data["difference"].abs().max()) or 1.0
        for axes, table in zip(panels[0], tables, strict=True):
            _matrix(axes, table, scale)
            axes.set_title(panel_title(table, data), fontsize=10)
        figure.suptitle(f"Row minus column, {metric_label(metric, 'points')}")
        caption = (
            f"{data_names(source.rows)}: {metric_label(metric, 'points')}, row minus column, the mean difference of "
            f"paired runs ({source.seeds}) with its 95 % interval. Blue is better than the column, red worse; bold "
            "where p < 0.05 after Holm's correction over all pairs shown."
        )
        return Drawing(figure, data, caption)


def _names(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys([*table["first"], *table["second"]]))


def _matrix(axes: Axes, table: pd.DataFrame, scale: float) -> None:
    names = _names(table)
    values = np.full((len(names), len(names)), np.nan)
    for row in table.to_dict("records"):
        one, other = names.index(row["first"]), names.index(row["second"])
        interval = (row["difference"], row["difference_low"], row["difference_high"])
        turned = (-row["difference"], -row["difference_high"], -row["difference_low"])
        for place, (mean, low, high) in (((one, other), interval), ((other, one), turned)):
            values[place] = mean
            text = f"{mean:+.1f}" + ("" if np.isnan(low) else f"\n[{low:+.1f},\n{high:+.1f}]")
            weight = "bold" if row["p_holm"] < 0.05 else "normal"
            axes.text(place[1], place[0], text.replace("-", "−"), ha="center", va="center", fontsize=8, weight=weight)
    # Twice as wide a scale as needed leaves every colour light enough for black letters.
    axes.imshow(values, cmap="RdBu", vmin=-scale, vmax=scale)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
