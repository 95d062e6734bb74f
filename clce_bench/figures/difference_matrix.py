"""Every loss against every other: a matrix of paired differences."""

from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clce_bench.evaluation.compare import DATA, LOSS_ORDER, PAIR
from clce_bench.evaluation.statistics import paired_difference
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, sentence_figure
from clce_bench.labels import metric_label, setting_label

_PANEL = [*DATA, "batch_size"]
SETTINGS = 12
"""How many settings a matrix shows at most."""


def draw(source: Source) -> Drawing:
    """Draws a matrix per data set and batch size: row minus column, with its interval."""
    metric = source.metrics[0]
    tables = [pairs(group, metric) for _, group in source.rows.groupby(_PANEL, dropna=False)]
    tables = [table for table in tables if len(table)]
    if not tables:
        return sentence_figure("No two losses share a data set, a batch size and a seed.")
    counts = [table["first"].nunique() for table in tables]
    if max(counts) > SETTINGS:
        many = f"A matrix shows {SETTINGS} settings at most, here are {max(counts)}; choose with where."
        return sentence_figure(many)
    largest = max(float(table["difference"].abs().max()) for table in tables) or 1.0
    side = 1.05 * max(counts)
    figure, panels = plt.subplots(1, len(tables), figsize=((side + 2) * len(tables), side + 1), squeeze=False)
    for axes, table in zip(panels[0], tables, strict=True):
        _matrix(axes, table, largest)
        axes.set_title(f"{data_names(table)}, batch {table['batch_size'].iloc[0]}", fontsize=10)
    figure.suptitle(f"Row minus column, {metric_label(metric, 'points')}")
    caption = (
        f"{data_names(source.rows)}: {metric_label(metric, 'points')}, row minus column, the mean difference paired "
        f"over seeds ({source.seeds}) with its 95 % interval. Blue is better than the column, red worse; bold where "
        "the interval leaves 0 out. With many comparisons one in twenty does so by chance."
    )
    return Drawing(figure, pd.concat(tables, ignore_index=True), caption)


def pairs(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compares every two settings of cells that share data set and batch size.

    Args:
        rows: those cells, from the summary.
        metric: a column such as ``metric.top1``, in [0, 1].

    Returns:
        A row per ordered pair with shared seeds: the panel's axes, ``first``, ``second``, ``difference``,
        ``difference_low``, ``difference_high`` in points, ``pairs``.
    """
    finished = rows.dropna(subset=[metric])
    settings: dict[tuple[str, float], pd.Series[float]] = {
        (str(group["loss"].iloc[0]), float(group["lambda"].iloc[0])): 100 * group.groupby(PAIR)[metric].mean()
        for _, group in finished.groupby(["loss", "lambda"])
    }
    order = sorted(settings, key=lambda key: (LOSS_ORDER.index(key[0]) if key[0] in LOSS_ORDER else 99, key))
    panel = {axis: rows[axis].iloc[0] for axis in _PANEL}
    records = []
    for first, second in permutations(order, 2):
        shared = settings[first].index.intersection(settings[second].index)
        if len(shared):
            found = paired_difference(settings[first][shared], settings[second][shared])
            values = dict(zip(("difference", "difference_low", "difference_high", "pairs"), found, strict=True))
            names = {"first": setting_label(*first), "second": setting_label(*second)}
            records.append({**panel, **names, **values})
    return pd.DataFrame(records)


def _matrix(axes: Axes, table: pd.DataFrame, largest: float) -> None:
    names = list(dict.fromkeys(table["first"]))
    values = np.full((len(names), len(names)), np.nan)
    for row in table.to_dict("records"):
        place = names.index(row["first"]), names.index(row["second"])
        values[place] = row["difference"]
        known = not np.isnan(row["difference_low"])
        clear = known and row["difference_low"] * row["difference_high"] > 0
        text = f"{row['difference']:+.1f}"
        if known:
            text += f"\n[{row['difference_low']:+.1f},\n{row['difference_high']:+.1f}]"
        weight = "bold" if clear else "normal"
        axes.text(place[1], place[0], text.replace("-", "−"), ha="center", va="center", fontsize=8, weight=weight)
    # Twice as wide a scale leaves every colour light enough for black letters.
    axes.imshow(values, cmap="RdBu", vmin=-2 * largest, vmax=2 * largest)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
