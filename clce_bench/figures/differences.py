"""Difference of each loss to cross-entropy: the answer at a glance."""

from clce_bench.analysis.summary_labels import data_label, metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, loss_style, sentence_figure
from clce_bench.labels import axis_label, setting_label, value_label


class Differences(MetricFigure):
    """A panel per metric with a row per setting: the mean paired difference and its interval."""

    def lacking(self, cells: list[Cell]) -> str:
        """Needs cross-entropy and another loss."""
        losses = {cell.loss_name for cell in cells}
        return "it needs cross-entropy and another loss." if len(losses) < 2 or "ce" not in losses else ""

    def draw(self, source: Source) -> Drawing:
        """Draws a panel per metric with a row per setting: the mean paired difference and its interval."""
        import matplotlib.pyplot as plt
        import pandas as pd

        from clce_bench.analysis.comparisons import compare
        from clce_bench.analysis.summary_rows import AXES, DATA, hyperparameter_columns

        rows = source.rows
        found = {metric: compare(rows, metric).dropna(subset=["difference"]) for metric in self.columns(source.rows)}
        # Where no contrastive loss trains a classifier, top-1 has no difference to show.
        tables = {metric: table for metric, table in found.items() if len(table)}
        if not tables:
            return sentence_figure("No loss has exactly one cross-entropy run at the same seed and batch size.")
        data = pd.concat([table.assign(metric=metric) for metric, table in tables.items()], ignore_index=True)
        varying = hyperparameter_columns(data)
        settings = data[[*AXES, *varying]].drop_duplicates().reset_index(drop=True)
        styles = loss_style(list(settings["loss"].unique()))
        height = 1.3 + 0.35 * len(settings)
        width = max(8.0, 4.5 * len(tables))  # A single panel leaves room for the title.
        figure, panels = plt.subplots(1, len(tables), figsize=(width, height), squeeze=False, sharey=True)
        for axes, (metric, table) in zip(panels[0], tables.items(), strict=True):
            axes.axvline(0, color="#000000", linewidth=0.8)
            # All panels have the same rows, though a metric may lack some (no classifier at λ = 1).
            for row in settings.reset_index(names="position").merge(table, on=[*AXES, *varying]).to_dict("records"):
                interval = [[row["difference"] - row["difference_low"]], [row["difference_high"] - row["difference"]]]
                style = {**styles[row["loss"]], "linestyle": "none"}
                axes.errorbar(row["difference"], row["position"], xerr=interval, capsize=3, **style)
            axes.set_title(metric_label(metric, "points"), fontsize=10)
            axes.set_xlabel("difference to CE")
        several, backbones = len(settings[DATA].drop_duplicates()) > 1, settings["backbone"].nunique() > 1
        batches = settings["batch_size"].nunique() > 1
        names = [
            ", ".join(
                [setting_label(row["loss"], row["lambda"])]
                + [f"batch {row['batch_size']}"] * batches
                + [f"{axis_label(name)} {value_label(row[name])}" for name in varying if row[name] == row[name]]
                + [row["backbone"]] * backbones
                + [data_label(*(row[axis] for axis in DATA))] * several
            )
            for row in settings.to_dict("records")
        ]
        panels[0, 0].set_yticks(range(len(names)), names)
        panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
        pairs = int(min(table["pairs"].min() for table in tables.values()))
        batch = "" if batches else f", batch {settings['batch_size'][0]}"
        figure.suptitle(f"{data_names(rows)}{batch}: loss minus CE (at least {pairs} pairs, 95 % interval)")
        caption = (
            f"{data_names(rows)}: each loss minus cross-entropy (CE), at least {pairs} pairs: the mean difference, "
            "paired over seeds, with its 95 % interval. Right of 0 the loss is better; an interval that contains 0 "
            "shows no difference."
        )
        return Drawing(figure, data, caption)
