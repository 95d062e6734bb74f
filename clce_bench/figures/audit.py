"""Where does the gain come from? Differences to cross-entropy without and with hazards, and what each one changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, in_legends, legend_below, loss_style, panel_title, sentence_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


WIDTH = 0.22
"""Distance of two settings within a row, in rows; less where there are many."""

FILLED = ("full", "left", "right", "top", "bottom")
"""Which part of the marker is filled, of the settings of one loss."""


class Audit(MetricFigure):
    """Differences to cross-entropy in several grids, and what the hazards of each change against the first."""

    tabled = True
    compares_hazards = True

    def lacking(self, cells: list[Cell]) -> str:
        """Needs cross-entropy and another loss."""
        losses = {cell.loss_name for cell in cells}
        return "it needs cross-entropy and another loss." if len(losses) < 2 or "ce" not in losses else ""

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Gives the differences and their changes as text, with the metric."""
        import pandas as pd

        from clce_bench.analysis.hazard_effects import audit_of, audit_text

        texts = {metric: audit_text(audit_of(rows, self.grid, metric)) for metric in self.columns(rows)}
        for metric, text in texts.items():
            text.insert(0, "metric", metric_label(metric))
        return pd.concat(texts.values(), ignore_index=True) if texts else pd.DataFrame()

    def draw(self, source: Source) -> Drawing:
        """Draws a row of panels per data set, batch size and metric: differences, and how much the hazards change "
        "them.
        """
        import matplotlib.pyplot as plt
        import pandas as pd

        from clce_bench.analysis.hazard_effects import audit_of
        from clce_bench.analysis.summary_rows import PLACE

        grids, metrics = self.grid, self.columns(source.rows)
        tables = [audit_of(source.rows, grids, metric).assign(metric=metric) for metric in metrics]
        data = pd.concat(tables, ignore_index=True).dropna(subset=["difference"])
        if data.empty:
            return sentence_figure("No loss has exactly one cross-entropy run at the same seed and batch size.")
        groups = [group for _, group in data.groupby([*PLACE, "metric"], dropna=False, sort=False)]
        shape, height = (len(groups), min(len(grids), 2)), 0.8 + 0.5 * len(grids)
        figure, panels = plt.subplots(
            *shape, figsize=(10, 0.6 + height * len(groups)), squeeze=False, sharey=True, layout="constrained"
        )
        for group, (differences, *changes) in zip(groups, panels, strict=True):
            unit = metric_label(group["metric"].iloc[0], "points")
            _points(differences, group, grids, "difference")
            differences.set_title(panel_title(group, data), fontsize=10)
            differences.set_xlabel(f"loss − CE, {unit}")
            differences.set_yticks(range(len(grids)), grids)
            differences.set_ylim(len(grids) - 0.5, -0.5)
            # One grid alone has nothing to change against.
            for axes in changes:
                _points(axes, group, grids, "change")
                axes.set_title(f"change against {grids[0]}", fontsize=10)
                axes.set_xlabel(unit)
        legend_below(figure, panels[0, 0])
        figure.suptitle(f"{data_names(source.rows)}: where does the gain come from?")
        broken = data[data["hazards"] != ""].drop_duplicates("grid")
        meaning = "; ".join(
            f"{row['grid']}: {row['hazards']}" for row in broken.to_dict("records") if row["grid"] != row["hazards"]
        )
        shown = " and ".join(metric_label(metric, "points") for metric in data["metric"].unique())
        right = (
            f" Right: by how much the difference differs from that in {grids[0]}, paired over seeds and images, with "
            "its interval; one that contains 0 shows no effect, and what rests on the same cells has none."
        )
        caption = (
            f"{data_names(source.rows)}: each loss minus cross-entropy, {shown}, {source.seeds}. "
            f"{'Left: the' if len(grids) > 1 else 'The'} difference in {', '.join(grids)}, with its 95 % interval; the "
            "grey line is the interval that one gets by pooling the test images or episodes of all seeds as if they "
            "were independent."
            f"{right if len(grids) > 1 else ''}{f' Hazards: {meaning}.' if meaning else ''}"
        )
        return Drawing(figure, data, caption)


def _points(axes: Axes, table: pd.DataFrame, grids: list[str], name: str) -> None:
    axes.axvline(0, color="#000000", linewidth=0.8)
    settings = table.drop_duplicates("setting")[["setting", "loss"]]
    shifts = min(WIDTH, 0.8 / len(settings)) * (np.arange(len(settings)) - (len(settings) - 1) / 2)
    filled = settings.groupby("loss").cumcount() % len(FILLED)
    styles = loss_style(settings["loss"].tolist())
    for setting, loss, fill, shift in zip(settings["setting"], settings["loss"], filled, shifts, strict=True):
        own = table[table["setting"] == setting].dropna(subset=[name])
        places = [grids.index(grid) + shift for grid in own["grid"]]
        if name == "difference":
            axes.hlines([place + WIDTH / 3 for place in places], own["pooled_low"], own["pooled_high"], color="#8a8a8a")
        interval = [own[name] - own[f"{name}_low"], own[f"{name}_high"] - own[name]]
        style = {**styles[loss], "linestyle": "none", "label": in_legends(setting)}
        style |= {"fillstyle": FILLED[fill]} if fill else {}
        axes.errorbar(own[name], places, xerr=interval, capsize=2, markersize=5, **style)
