"""Accuracy, and its difference to a reference, along one axis: λ, batch size, or what else a grid varies."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from textwrap import fill
from typing import TYPE_CHECKING, Self

import numpy as np

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.components.loss_info import NO_TRAINING, WITHOUT_CODE
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, keep_to_percent, legend_below, loss_style, share_scale, zero_line
from clce_bench.labels import axis_label, loss_label, value_label
from clce_bench.planning.figure_cells import varying_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MEAN = ("mean", "low", "high")
_LABELS = {"lambda": "λ, weight of the contrastive loss", "batch_size": "batch size (images)"}
DIFFERENCE = ("difference", "difference_low", "difference_high")


class Curve(MetricFigure):
    """A row per data set and metric: differences to the reference, then accuracy in a small panel per loss.

    The reference is cross-entropy, or SupCon where there is none. Losses that do not have the axis are drawn at each of
    its values, as a level line. All panels of a metric have one scale.
    """

    def draw(self, source: Source) -> Drawing:
        """Draws the curves of all losses, differences paired over seeds."""
        import matplotlib.pyplot as plt
        import pandas as pd

        from clce_bench.analysis.summary_rows import DATA

        rows, axis = source.rows, self.column
        metrics = self.columns(rows)
        reference = "ce" if (rows["loss"] == "ce").any() else "supcon"
        other = "cross-entropy (CE)" if reference == "ce" else loss_label(reference)
        found = [along(rows, metric, axis, reference).assign(metric=metric) for metric in metrics]
        data = pd.concat(found, ignore_index=True)
        shared = [*(name for name in DATA if name != axis), "metric"]
        tables = [table for _, table in data.dropna(subset="mean").groupby(shared, dropna=False, sort=False)]
        steps = sorted(rows[axis].dropna().unique().tolist(), key=_in_order)
        positions, logarithmic = _positions(steps)
        losses = [name for name in data["loss"].unique() if name not in (reference, NO_TRAINING)] or [reference]
        across = math.ceil(math.sqrt(len(losses)))
        down = math.ceil(len(losses) / across)
        figure = plt.figure(figsize=(10, 0.4 + max(3.1, 1.6 * down) * len(tables)))
        places = figure.add_gridspec(len(tables), 2, width_ratios=(1, 1.2))
        scales: dict[tuple[str, str], list[Axes]] = defaultdict(list)
        for row, table in enumerate(tables):
            metric = table["metric"].iloc[0]
            name = f"{data_names(table)}: " if len(tables) > len(metrics) else ""
            # Where there is no reference, the means have all the room.
            compared = table["difference"].notna().any()
            if compared:
                gain = figure.add_subplot(places[row, 0])
                zero_line(gain)
                _curves(gain, table, axis, DIFFERENCE, positions)
                _name_steps(gain, positions, axis)
                gain.set_title(f"{name}{metric_label(metric, 'points')}", fontsize=10)
                gain.set_ylabel(f"difference to {loss_label(reference)}")
                scales["difference", metric].append(gain)
            place = places[row, 1] if compared else places[row, :]
            small = place.subgridspec(down, across).subplots(squeeze=False, sharex=True, sharey=True)
            shown = [loss for loss in losses if (table["loss"] == loss).any()] or [reference]
            for axes, loss in zip(small.flat, shown, strict=False):
                _curves(axes, table[table["loss"].isin([reference, NO_TRAINING, loss])], axis, MEAN, positions)
                _name_steps(axes, positions, axis, small=True)
                axes.set_title(loss_label(loss), fontsize=9)
                keep_to_percent(axes)
            for axes in small.flat[len(shown) :]:
                axes.remove()
            small[0, 0].set_ylabel(f"{'' if compared else name}{fill(metric_label(metric), 18)}", fontsize=9)
            scales["mean", metric].append(small[0, 0])
        for panels in scales.values():
            share_scale(panels)
        legend_below(figure, *figure.axes)
        figure.suptitle(f"{data_names(rows)}: accuracy against {axis_label(axis)}")
        caption = (
            f"{data_names(rows)}: accuracy against {axis_label(axis)}, {source.seeds} per point. Left: differences to "
            f"{other}, paired over seeds, with 95 % intervals; one that contains 0 shows no difference. Right: means, "
            f"a panel per loss beside the same {loss_label(reference)}. All panels of a metric have one scale."
            f"{_no_classifier(data)}{' The axis is logarithmic.' if logarithmic else ''}"
        )
        return Drawing(figure, data, caption)


class LambdaCurve(Curve):
    """Accuracy against λ: from cross-entropy alone (0) to the contrastive loss alone (1)."""

    @property
    def column(self) -> str:
        """What varies from left to right, a column of the summary."""
        return "lambda"

    def lacking(self, cells: list[Cell]) -> str:
        """Needs two values of λ."""
        return "" if len({cell.contrastive_weight for cell in cells}) > 1 else "it needs at least two values of λ."


class BatchSizeCurve(Curve):
    """Accuracy against batch size: whether a loss needs large batches."""

    @property
    def column(self) -> str:
        """What varies from left to right, a column of the summary."""
        return "batch_size"

    def lacking(self, cells: list[Cell]) -> str:
        """Needs two batch sizes."""
        return "" if len({cell.batch_size for cell in cells}) > 1 else "it needs at least two batch sizes."


class AxisCurve(Curve):
    """Accuracy against whatever else a grid varies: encoder, projection width, a loss's own parameters."""

    axis: str = ""
    """What varies from left to right, such as ``recipe.projection_size``; the only thing that varies when not given."""

    @property
    def column(self) -> str:
        """What varies from left to right, a column of the summary."""
        return self.axis

    def lacking(self, cells: list[Cell]) -> str:
        """Needs one thing that varies, or the one named."""
        varying = varying_axes(cells)
        listing = f"What varies: {', '.join(varying) or 'nothing'}."
        if self.axis:
            return "" if self.axis in varying else f"axis: {self.axis!r} does not vary. {listing}"
        return "" if len(varying) == 1 else f"axis: say which. {listing}"

    def completed(self, cells: list[Cell]) -> Self:
        """Fills in the only axis that varies."""
        return self.model_copy(update={"axis": self.axis or varying_axes(cells)[0]})


def _name_steps(axes: Axes, positions: dict[float | str, float], axis: str, small: bool = False) -> None:
    names = [fill(value_label(step), 18) for step in positions]
    axes.set_xticks(list(positions.values()), names)
    if small and max(map(len, names)) > 6:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    steps = np.diff(sorted(positions.values()))
    room = 0.05 * steps.sum() + 0.2 * min(steps, default=0)  # For points side by side.
    axes.set_xlim(min(positions.values()) - room, max(positions.values()) + room)
    axes.tick_params(labelsize=8 if small else 9)
    axes.label_outer()
    place = axes.get_subplotspec()
    if place is None or place.is_last_row():
        axes.set_xlabel(axis_label(axis) if small else _LABELS.get(axis, axis_label(axis)), fontsize=9)


def _no_classifier(data: pd.DataFrame) -> str:
    """Says why a curve of the classifier ends before λ = 1, if one does."""
    alone = data[(data["lambda"] == 1) & (data["metric"] == "metric.top1") & data["mean"].isna()]
    return " At λ = 1 no classifier is trained, so there is no test top-1." if len(alone) else ""


def along(rows: pd.DataFrame, metric: str, axis: str, reference: str = "ce") -> pd.DataFrame:
    """Compares the settings at each value of an axis.

    Args:
        rows: cells, from the summary.
        metric: a column such as ``metric.top1``.
        axis: another one. Losses that do not have it are compared with the others at each of its values.
        reference: the loss to which differences are taken.

    Returns:
        Comparisons with the axis and ``level``: whether the loss does not have it.
    """
    import pandas as pd

    from clce_bench.analysis.comparisons import compare
    from clce_bench.analysis.summary_rows import AXES

    if axis in AXES:
        return compare(rows, metric, reference).assign(level=False)
    without = rows[rows[axis].isna()]
    at = [
        compare(pd.concat([group, without]).drop(columns=axis), metric, reference).assign(**{axis: value})
        for value, group in rows.groupby(axis)
    ]
    table = pd.concat(at, ignore_index=True)
    return table.assign(level=~table["loss"].isin(rows.loc[rows[axis].notna(), "loss"]))


def _in_order(step: float | str) -> list[float | str]:
    """Sorts numbers as such, and names by the numbers in them: resnet18, resnet50, resnet101."""
    if not isinstance(step, str):
        return [step]
    return [float(part) if n % 2 else part for n, part in enumerate(re.split("([0-9]+)", step))]


def _positions(steps: list[float | str]) -> tuple[dict[float | str, float], bool]:
    """Places values on the axis: evenly what has no order, by their logarithm what spans more than a factor of 8."""
    numbers = [float(step) for step in steps if isinstance(step, int | float)]
    if len(numbers) < len(steps):
        return {step: float(n) for n, step in enumerate(steps)}, False
    if min(numbers) > 0 and max(numbers) / min(numbers) >= 8:
        return {step: float(np.log2(number)) for step, number in zip(steps, numbers, strict=True)}, True
    return dict(zip(steps, numbers, strict=True)), False


def _curves(
    axes: Axes, table: pd.DataFrame, axis: str, columns: tuple[str, str, str], positions: dict[float | str, float]
) -> None:
    import pandas as pd

    mean, low, high = columns
    losses = [name for name in table["loss"].unique() if axis != "lambda" or name not in WITHOUT_CODE]
    untrained = table[table["loss"] == NO_TRAINING].dropna(subset=[mean])
    if axis == "lambda" and len(untrained):
        style = loss_style([NO_TRAINING])[NO_TRAINING]
        axes.axhline(untrained[mean].iloc[0], **{key: style[key] for key in ("color", "linestyle", "label")})
    # Points of different losses stand side by side, or their intervals could not be told apart.
    width = 0.03 * (len(losses) - 1) * min(np.diff(sorted(positions.values())), default=1.0)
    shifts = dict(zip(losses, np.linspace(-width, width, len(losses)), strict=True))
    others = [
        name
        for name in table.columns
        if name != axis and (name in ("backbone", "batch_size", "lambda") or name.startswith(("loss.", "recipe.")))
    ]
    for name, style in loss_style(losses).items():
        own = table[table["loss"] == name]
        told = [other for other in others if own[other].nunique() > 1]
        for _, curve in own.groupby(told, dropna=False) if told else [((), own)]:
            if axis == "lambda":
                # λ = 0 is cross-entropy, the same cells for every loss.
                curve = pd.concat([_start(table, curve), curve])
            curve = curve.dropna(subset=[mean]).sort_values(axis, key=lambda column: column.map(positions))
            label = ", ".join([style["label"], *(f"{axis_label(o)} {value_label(curve[o].iloc[0])}" for o in told)])
            places = [positions[value] for value in curve[axis]]
            if curve["level"].all():
                axes.plot(places, curve[mean], color=style["color"], linestyle=style["linestyle"], label=label)
                axes.fill_between(places, curve[low], curve[high], color=style["color"], alpha=0.1, linewidth=0)
                continue
            interval = [curve[mean] - curve[low], curve[high] - curve[mean]]
            places = [place + shifts[name] for place in places]
            axes.errorbar(places, curve[mean], interval, capsize=2, markersize=4, **{**style, "label": label})


def _start(table: pd.DataFrame, curve: pd.DataFrame) -> pd.DataFrame:
    return table[(table["loss"] == "ce") & table["batch_size"].isin(curve["batch_size"])]
