"""The look that all figures share: one colour and one marker per loss, everywhere."""

from itertools import cycle
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clce_bench.evaluation.compare import DATA
from clce_bench.labels import data_label, loss_label

# Okabe and Ito's palette, distinguishable with any colour vision.
_COLORS = {
    "ce": "#000000",
    "supcon": "#0072B2",
    "schane": "#E69F00",
    "clce": "#D55E00",
    "tcl": "#009E73",
    "ntxent": "#CC79A7",
    "hcl": "#56B4E9",
}
_MARKERS = {"ce": "o", "supcon": "s", "schane": "^", "clce": "D", "tcl": "v", "ntxent": "P", "hcl": "X"}


def use_style() -> None:
    """Sets matplotlib's defaults for this process."""
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "font.size": 10,
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
    """Gives each loss its colour, marker and label; losses of the user's own share what the palette has left."""
    rest = cycle(["#CC79A7", "#56B4E9", "#999933", "#882255"])
    styles = {}
    for name in losses:
        color = _COLORS.get(name) or next(rest)
        styles[name] = {"color": color, "marker": _MARKERS.get(name, "*"), "label": loss_label(name)}
    return styles


def data_names(rows: pd.DataFrame) -> str:
    """Lists what the cells train on."""
    return ", ".join(dict.fromkeys(data_label(*data) for data in rows[DATA].sort_values(DATA).to_numpy().tolist()))


def empty_figure(reason: str) -> Figure:
    """Returns a figure that says why it shows nothing."""
    figure = plt.figure(figsize=(6, 1.5))
    figure.text(0.5, 0.5, reason, ha="center", va="center")
    return figure


def zero_line(axes: Axes) -> None:
    """Marks no difference."""
    axes.axhline(0, color="#000000", linewidth=0.8)
