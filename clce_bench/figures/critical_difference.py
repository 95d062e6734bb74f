"""Mean ranks over data sets with the critical difference (Friedman's test, Nemenyi's post-hoc test)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, loss_style, sentence_figure
from clce_bench.labels import setting_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


_SETTING = ["loss", "lambda"]


class Ranking(NamedTuple):
    """How settings rank over data sets.

    Attributes:
        ranks: mean rank of each setting, best (1) first; ties share their mean rank.
        p: of Friedman's test that all settings rank alike.
        critical: difference of mean ranks that Nemenyi's test needs at the 5 % level.
    """

    ranks: pd.Series[float]
    p: float
    critical: float


class CriticalDifference(MetricFigure):
    """Mean ranks on one axis, with a bar under settings that cannot be told apart."""

    def lacking(self, cells: list[Cell]) -> str:
        """Needs two data sets and three losses."""
        if len({cell.dataset for cell in cells}) < 2 or len({cell.loss_name for cell in cells}) < 3:
            return "it needs at least two data sets and three losses; several grids can be given."
        return ""

    def draw(self, source: Source) -> Drawing:
        """Draws the mean ranks on one axis, with a bar under settings that cannot be told apart."""
        import matplotlib.pyplot as plt
        import pandas as pd

        from clce_bench.analysis.summary_rows import DATA

        blocks = {}
        for _, group in source.rows.groupby(DATA, dropna=False):
            metric = next((name for name in self.columns(source.rows) if group[name].notna().any()), None)
            if metric:
                name = f"{data_names(group)} ({metric_label(metric, 'mean')})"
                blocks[name] = 100 * group.groupby(_SETTING)[metric].mean()
        table = pd.DataFrame(blocks).dropna()
        if len(table) < 3 or len(table.columns) < 2:
            return sentence_figure("Fewer than three losses have results on at least two data sets in common.")
        found = rank(table)
        figure, axes = plt.subplots(figsize=(8, 1.7 + 0.22 * len(table)))
        _diagram(axes, found)
        verdict = "differ" if found.p < 0.05 else "cannot be told apart"
        count = len(table.columns)
        figure.suptitle(f"Mean rank over {count} data sets; Friedman p = {found.p:.2g}: the losses {verdict}")
        caption = (
            f"Mean ranks over {count} data sets ({', '.join(table.columns)}), 1 is best; each data set counts once, by "
            f"the mean over its seeds. Friedman's test gives p = {found.p:.2g}. By Nemenyi's test at 5 % two losses "
            f"differ if their mean ranks are more than the critical difference (CD) of {found.critical:.2f} apart; a "
            "bar joins those that are not. With few data sets the critical difference is large, and a bar is no proof "
            "of equality. Data sets that share images count as if they did not."
        )
        data = table.assign(mean_rank=found.ranks, friedman_p=found.p, critical_difference=found.critical)
        return Drawing(figure, data.sort_values("mean_rank").reset_index(), caption)


def rank(table: pd.DataFrame) -> Ranking:
    """Ranks settings (Demšar, JMLR 7, 2006).

    Args:
        table: accuracies, a row per setting (three at least) and a column per data set (two at least).
    """
    from scipy.stats import friedmanchisquare, studentized_range

    k, n = table.shape
    ranks = table.rank(ascending=False).mean(axis=1).sort_values()
    # Where all settings tie everywhere the statistic is 0/0: nothing tells them apart.
    spread = (table.nunique() > 1).any()
    p = float(friedmanchisquare(*table.to_numpy()).pvalue) if spread else 1.0
    critical = float(studentized_range.ppf(0.95, k, np.inf)) / 2**0.5 * (k * (k + 1) / (6 * n)) ** 0.5
    return Ranking(ranks, p, critical)


def cliques(ranks: list[float], critical: float) -> list[tuple[int, int]]:
    """Finds the longest runs of settings whose mean ranks are within the critical difference.

    Args:
        ranks: rising.
        critical: the critical difference.

    Returns:
        First and last place of each run of two settings at least; no run is within another.
    """
    runs: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        last = max(place for place, high in enumerate(ranks) if high - low <= critical)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _diagram(axes: Axes, found: Ranking) -> None:
    k, ranks = len(found.ranks), found.ranks.tolist()
    settings = found.ranks.index.tolist()
    styles = loss_style([loss for loss, _ in settings])
    runs = cliques(ranks, found.critical)
    below = 0.5 + 0.28 * len(runs)
    axes.plot([1, k], [0, 0], color="#000000", linewidth=1)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [0, 0.12], color="#000000", linewidth=1)
        axes.text(tick, 0.2, str(tick), ha="center", va="bottom")
    for n, (first, last) in enumerate(runs):
        ends = [ranks[first] - 0.04, ranks[last] + 0.04]
        axes.plot(ends, [-0.3 - 0.28 * n] * 2, color="#555555", linewidth=4, solid_capstyle="butt")
    half = (k + 1) // 2
    for n, ((loss, weight), place) in enumerate(zip(settings, ranks, strict=True)):
        left = n < half
        depth = -below - 0.35 * (n if left else k - 1 - n)
        edge, side = (0.6, "right") if left else (k + 0.4, "left")
        style = styles[loss]
        axes.plot([place, place, edge], [0, depth, depth], color=style["color"], linewidth=1)
        axes.plot(place, 0, color=style["color"], marker=style["marker"], markersize=6)
        text = f"{setting_label(loss, weight)} ({place:.2f})"
        axes.text(edge + (-0.05 if left else 0.05), depth, text, ha=side, va="center", fontsize=9)
    axes.plot([1, 1 + found.critical], [0.95, 0.95], color="#000000", linewidth=2)
    axes.text(1 + found.critical / 2, 1.02, f"CD = {found.critical:.2f}", ha="center", va="bottom", fontsize=9)
    axes.set_xlim(min(-0.9, 0.6 - 0.35 * k), max(k + 1.9, 1.5 + found.critical))
    axes.set_ylim(-below - 0.35 * half, 1.5)
    axes.axis("off")
