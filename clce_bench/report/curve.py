"""One curve of the figures as a picture that can be explored: its points say what they stand for."""

from collections.abc import Hashable, Iterator
from math import log2
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup, escape

from clce_bench.analysis.summary_labels import data_label, metric_label
from clce_bench.analysis.summary_rows import AXES, DATA, PLACE, figure_rows, hyperparameter_columns, matching
from clce_bench.components.loss_info import LOSSES, loss_order
from clce_bench.experiment.figure_options import Figure
from clce_bench.labels import axis_label, loss_label, setting_label, supervised_loss, value_label
from clce_bench.report.cells_behind import told_cells
from clce_bench.report.forest import Scale, axis, line, round_scale, scale_of
from clce_bench.report.headline import interval

_DASHES = {"--": "7 4", "-.": "7 3 2 3", ":": "2 3"}
_SHIFT = 0.8
"""Per cent of the width by which points of two losses stand apart, so that their intervals can be told apart."""


class Panel(NamedTuple):
    """What the picture can show.

    Attributes:
        title: data and quantity.
        picture: an SVG of any width.
        ticks: label and place from the top, in per cent, of the values on the left.
        axis: under the picture.
    """

    title: str
    picture: Markup
    ticks: list[tuple[str, float]]
    axis: Markup


class ExploredCurve(NamedTuple):
    """A curve for the page.

    Attributes:
        name: of the figure.
        axis: what runs from left to right.
        panels: one at a time is shown, the first at first.
    """

    name: str
    axis: str
    panels: list[Panel]


def explored_curve(figures: list[Figure], folder: Path, summary: pd.DataFrame) -> ExploredCurve | None:
    """Makes the first curve of an experiment explorable.

    Args:
        figures: of the experiment, in its order.
        folder: of their files.
        summary: all cells.

    Returns:
        ``None`` if there is no curve, or none that was drawn.
    """
    for figure in figures:
        path = folder / f"{figure.name}.csv"
        if figure.column and path.exists():
            table = pd.read_csv(path)
            if figure.column in table and len(table):
                rows = figure_rows(figure, summary)
                return ExploredCurve(figure.name, axis_label(figure.column), list(_panels(table, figure.column, rows)))
    return None


def _panels(table: pd.DataFrame, column: str, rows: pd.DataFrame) -> Iterator[Panel]:
    metrics = table["metric"].unique().tolist() if "metric" in table else [""]
    shared = [name for name in PLACE if name != column]
    # The reference of these figures, as they say themselves.
    minus = f"minus {loss_label('ce' if (table['loss'] == 'ce').any() else 'supcon')}, "
    places = _places(sorted(table[column].dropna().unique()))
    for prefix in ("difference", ""):
        if prefix and "difference" not in table:
            continue
        mean, ends = (prefix, f"{prefix}_") if prefix else ("mean", "")
        for metric in metrics:
            own = table[table["metric"] == metric] if metric else table
            own = own.rename(columns={mean: "value", f"{ends}low": "bottom", f"{ends}high": "top"})
            own = own.dropna(subset="value")
            if own.empty:
                continue
            values = own[["value", "bottom", "top"]].to_numpy().ravel().tolist()
            # Data sets share the scale of a metric.
            scale = scale_of(values) if prefix else round_scale(values)
            quantity = metric_label(metric, "points" if prefix else "%") if metric else "validation accuracy (%)"
            for _, group in own.groupby(shared, dropna=False):
                title = ", ".join([*_told(group, own, shared), f"{minus if prefix else ''}{quantity}"])
                yield _panel(title, group, column, rows, scale, places)


def _told(group: pd.DataFrame, whole: pd.DataFrame, shared: list[str]) -> list[str]:
    first = group.iloc[0]
    others = [name for name in shared if name not in DATA and whole[name].nunique() > 1]
    return [
        data_label(str(first["dataset"]), first["images_per_class"], first["label_noise"]),
        *(f"{axis_label(name)} {value_label(first[name])}" for name in others),
    ]


def _places(steps: list[Any]) -> dict[Any, float]:
    """Puts values from 4 to 96 per cent: evenly what has no order, by logarithm what spans a factor of 8 or more."""
    if any(isinstance(step, str) for step in steps):
        numbers = [float(n) for n in range(len(steps))]
    elif min(steps) > 0 and len(steps) < max(steps) / min(steps) and max(steps) / min(steps) >= 8:
        numbers = [log2(step) for step in steps]
    else:
        numbers = [float(step) for step in steps]
    low, width = numbers[0], (numbers[-1] - numbers[0]) or 1.0
    return {step: 4 + 92 * (number - low) / width for step, number in zip(steps, numbers, strict=True)}


def _panel(
    title: str, group: pd.DataFrame, column: str, rows: pd.DataFrame, scale: Scale, places: dict[Any, float]
) -> Panel:
    keys = ["loss", *(name for name in ("lambda", *hyperparameter_columns(group)) if name != column)]
    ordered = group.sort_values("loss", key=lambda names: names.map(supervised_loss).map(loss_order), kind="stable")
    curves = list(ordered.groupby(keys, dropna=False, sort=False))
    grid = [
        line("zero" if abs(tick) < scale.step / 2 else "grid", 0, _down(scale, tick), 100, _down(scale, tick))
        for tick in scale.ticks
    ]
    drawn = [
        _curve(curve.sort_values(column), column, title, rows, scale, places, _SHIFT * (n - (len(curves) - 1) / 2))
        for n, (_, curve) in enumerate(curves)
    ]
    inside = "".join([*grid, *drawn])
    told = f'role="group" aria-label="{escape(title)}"'
    picture = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" {told}>{inside}</svg>'
    ticks = [(f"{tick:g}".replace("-", "−"), _down(scale, tick)) for tick in scale.ticks]
    every = -(-len(places) // 10)
    shown = [(value_label(step), place) for n, (step, place) in enumerate(places.items()) if n % every == 0]
    return Panel(title, Markup(picture), ticks, axis(shown))


def _curve(
    curve: pd.DataFrame,
    column: str,
    title: str,
    rows: pd.DataFrame,
    scale: Scale,
    places: dict[Any, float],
    shift: float,
) -> str:
    points = [(places[row[column]] + shift, row) for row in curve.to_dict("records")]
    loss = str(curve["loss"].iloc[0])
    info = LOSSES.get(loss)
    color = "var(--ink)" if info is None or loss == "ce" else info.color
    dash = _DASHES.get(info.line if info else "--", "")
    path = " ".join(f"{x:.2f},{_down(scale, row['value']):.2f}" for x, row in points)
    marks = "".join(_point(x, row, column, title, rows, scale) for x, row in points)
    return (
        f'<g style="color: {color}" data-losses="{escape(loss_label(loss))}">'
        f'<polyline points="{path}" stroke-dasharray="{dash}"/>{marks}</g>'
    )


def _point(x: float, row: dict[Hashable, Any], column: str, title: str, rows: pd.DataFrame, scale: Scale) -> str:
    names = [name for name in map(str, row) if name in rows and name in {*AXES, column, *hyperparameter_columns(row)}]
    cells = matching(rows, {name: "" if name == "hazards" and row[name] != row[name] else row[name] for name in names})
    seeds = cells["seed"].nunique()
    loss = str(row["loss"])
    name = loss_label(loss) if column == "lambda" else setting_label(loss, row["lambda"])
    value = interval(row["value"], row["bottom"], row["top"], signed=", minus " in title)
    label = (
        f"{name}, {axis_label(column)} {value_label(row[column])}: {value}, {title}; "
        f"{seeds} seed{'s' * (seeds != 1)}; {told_cells(cells['cell'].tolist())}"
    )
    y, low, high = (_down(scale, row[name]) for name in ("value", "bottom", "top"))
    bar = line("interval", x, low, x, high) if low == low and high == high else ""
    return f'<g role="img" aria-label="{escape(label)}">{bar}{line("near", x, y, x, y)}{line("dot", x, y, x, y)}</g>'


def _down(scale: Scale, value: float) -> float:
    return 100 - scale.place(value) if value == value else value
