"""A finished figure drawn anew for a phone: its panels one below the other."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

WIDTH = 4.2
"""Inches: at 390 pixels letters of ten points are then as large as those of the text around."""
LINE = 46
"""Letters in a line of such a figure."""


def make_narrow(canvas: Figure) -> None:
    """Puts the panels of a figure into one column, row after row, each with its own axis labels.

    Args:
        canvas: a finished figure; it is changed.
    """
    width, height = canvas.get_size_inches()
    panels = [axes for axes in canvas.axes if axes.get_subplotspec() is not None]
    places = [_place(axes) for axes in panels]
    tall = [height * (place[1] - place[0]) for place in places]
    wide = [width * (place[3] - place[2]) for place in places]
    heights = [min(own, max(2.0, own * WIDTH / across)) for own, across in zip(tall, wide, strict=True)]
    order = sorted(range(len(panels)), key=lambda index: (places[index][0], places[index][2]))
    grid = canvas.add_gridspec(max(len(panels), 1), 1, height_ratios=[heights[index] for index in order] or [1])
    for row, index in enumerate(order):
        axes = panels[index]
        axes.set_subplotspec(grid[row])
        axes.tick_params(labelleft=_labelled(axes, panels), labelbottom=True)
    _label_alone(panels, places)
    lines = _wrap_texts(canvas)
    for legend in list(canvas.legends):
        lines += _narrow_legend(canvas, legend)
    canvas.set_size_inches(WIDTH, sum(heights) + 0.2 * lines + 0.3 * len(panels))


def _place(axes: Axes) -> tuple[float, float, float, float]:
    """Says which part of the figure a panel has: from the top, to which depth, from the left, to where."""
    spec, canvas = axes.get_subplotspec(), axes.get_figure(root=True)
    assert spec is not None
    assert canvas is not None
    bottom, top, left, right = spec.get_gridspec().get_grid_positions(canvas)
    rows, columns = spec.rowspan, spec.colspan
    height = max(top) - min(bottom)
    first, last = (max(top) - top[rows.start]) / height, (max(top) - bottom[rows.stop - 1]) / height
    across = max(right) - min(left)
    return (
        float(first),
        float(last),
        float((left[columns.start] - min(left)) / across),
        float((right[columns.stop - 1] - min(left)) / across),
    )


def _labelled(axes: Axes, panels: list[Axes]) -> bool:
    """Whether a panel's rows have names: its own, or those of a panel that shares its axis."""
    shared = [axes, *(other for other in panels if axes.get_shared_y_axes().joined(axes, other))]
    return any(tick.label1.get_visible() for other in shared for tick in other.yaxis.get_major_ticks())


def _label_alone(panels: list[Axes], places: list[tuple[float, float, float, float]]) -> None:
    """Gives each panel the labels and the title that it had in common with its neighbours."""
    for axes, place in zip(panels, places, strict=True):
        row = [other for other, there in zip(panels, places, strict=True) if abs(there[0] - place[0]) < 1e-6]
        column = [other for other, there in zip(panels, places, strict=True) if abs(there[2] - place[2]) < 1e-6]
        if any(axes.get_shared_y_axes().joined(axes, other) for other in row if other != axes):
            axes.set_ylabel(axes.get_ylabel() or next((other.get_ylabel() for other in row if other.get_ylabel()), ""))
        if any(axes.get_shared_x_axes().joined(axes, other) for other in column if other != axes):
            axes.set_xlabel(axes.get_xlabel() or column[-1].get_xlabel())
        axes.set_title(axes.get_title() or column[0].get_title(), fontsize=axes.title.get_fontsize())


def _wrap_texts(canvas: Figure) -> int:
    """Breaks titles into lines that fit, and counts the lines."""
    lines = 0
    titles: list[Text] = [axes.title for axes in canvas.axes]
    if canvas.get_suptitle():
        canvas.suptitle(_wrapped(canvas.get_suptitle()))
        lines += canvas.get_suptitle().count("\n") + 1
    for title in titles:
        title.set_text(_wrapped(title.get_text()))
        lines += title.get_text().count("\n")
    for axes in canvas.axes:
        axes.set_xlabel(_wrapped(axes.get_xlabel()))
        lines += axes.get_xlabel().count("\n")
    return lines


def _wrapped(text: str) -> str:
    return "\n".join(line for part in text.splitlines() for line in wrap(part, LINE) or [""])


def _narrow_legend(canvas: Figure, legend: Legend) -> int:
    """Draws a legend with as many columns as fit, and counts its rows."""
    labels = [text.get_text() for text in legend.get_texts()]
    columns = max(1, LINE // (max(map(len, labels), default=1) + 8))
    handles = [handle for handle in legend.legend_handles if handle is not None]
    legend.remove()
    canvas.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)
    return -(-len(labels) // columns)
