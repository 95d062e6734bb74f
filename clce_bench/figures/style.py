"""The look that all figures share: one colour and one marker per loss, everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, Any

from clce_bench.analysis.summary_labels import data_label
from clce_bench.components.loss_info import LOSSES, LossInfo, loss_order
from clce_bench.figures.source import Drawing
from clce_bench.labels import loss_label, supervised_loss

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OWN_COLORS = ["#CC79A7", "#56B4E9", "#44AA99", "#AA4499"]


def use_style() -> None:
    """Sets matplotlib's defaults for this process."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "text.parse_math": False,  # A class may be called "a$b".
            "figure.titlesize": 11,
            # Letters stay letters in a PDF and become shapes in an SVG: alike in print, whatever is installed.
            "pdf.fonttype": 42,
            "svg.fonttype": "path",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "svg.hashsalt": "clce_bench",
            "figure.constrained_layout.use": True,
        }
    )


def loss_style(losses: list[str]) -> dict[str, dict[str, Any]]:
    """Gives each loss its colour, marker and label, in the order of tables; the user's own share the palette's rest."""
    own = (LossInfo("", "", color, "*", "--") for color in cycle(_OWN_COLORS))
    styles = {}
    for name in sorted(losses, key=lambda name: loss_order(supervised_loss(name))):
        base = supervised_loss(name)
        info = LOSSES.get(base) or next(own)
        look = {"color": info.color, "marker": info.marker, "linestyle": info.line}
        # Without classes: the same loss, hollow.
        styles[name] = {**look, "fillstyle": "full" if base == name else "none", "label": in_legends(loss_label(name))}
    return styles


def in_legends(text: str) -> str:
    """Lets a text appear in legends: matplotlib leaves out those that begin with an underscore."""
    return f" {text}" if text.startswith("_") else text


def data_names(rows: pd.DataFrame) -> str:
    """Lists what the cells train on, or counts the data sets where they would not fit a title."""
    names = []
    for dataset, members in rows.groupby("dataset"):
        counts = sorted(members["images_per_class"].dropna().unique())
        name, noise = data_label(str(dataset), math.nan), sorted(members["label_noise"].unique())
        wrong = f", {', '.join(f'{100 * share:g}' for share in noise)} % wrong labels" if any(noise) else ""
        names += [name + wrong] if members["images_per_class"].isna().any() else []
        names += [f"{name}, {', '.join(f'{count:g}' for count in counts)} per class{wrong}"] if counts else []
    return "; ".join(names) if len(names) <= 3 else f"{rows['dataset'].nunique()} data sets"


def panel_title(panel: pd.DataFrame, whole: pd.DataFrame) -> str:
    """Says what a panel shows: data set and batch size, and the backbone where there are several.

    Args:
        panel: rows of one data set, backbone and batch size.
        whole: rows of all panels.
    """
    backbone = [str(panel["backbone"].iloc[0])] if whole["backbone"].nunique() > 1 else []
    return ", ".join([data_names(panel), *backbone, f"batch {panel['batch_size'].iloc[0]}"])


def sentence_figure(reason: str) -> Drawing:
    """Returns a figure that says why it shows nothing."""
    import matplotlib.pyplot as plt
    import pandas as pd

    canvas = plt.figure(figsize=(7, 1.5))
    canvas.text(0.5, 0.5, fill(reason, 80), ha="center", va="center")
    return Drawing(canvas, pd.DataFrame({"reason": [reason]}), reason)


def legend_below(canvas: Figure, *panels: Axes) -> None:
    """Puts one legend for all panels under them, where it hides no data.

    Args:
        canvas: the figure.
        panels: that have all curves among them.
    """
    found = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = max(1, int(canvas.get_figwidth() // 1.7))
    canvas.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def share_scale(panels: Sequence[Axes]) -> None:
    """Gives panels of one metric one scale from bottom to top."""
    low, high = (choose(axes.get_ylim()[end] for axes in panels) for end, choose in ((0, min), (1, max)))
    for axes in panels:
        axes.set_ylim(low, high)


def keep_to_percent(axes: Axes) -> None:
    """Keeps an axis of accuracies within 0 and 100, also where an interval leaves them."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 101))


def zero_line(axes: Axes) -> None:
    """Marks no difference."""
    axes.axhline(0, color="#000000", linewidth=0.8)
