"""Losses side by side: means with intervals, differences to cross-entropy and between any two settings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.paired_outcomes import RUN, Contrast, contrast
from clce_bench.analysis.statistics import crossed_components, hierarchical_bootstrap, holm
from clce_bench.components.loss_info import loss_order
from clce_bench.experiment.figure_options import Figure
from clce_bench.experiment.hazards import known_hazards
from clce_bench.labels import is_accuracy, is_main, loss_label, supervised_loss
from clce_bench.planning.figure_cells import matches

DATA = ["dataset", "images_per_class"]
AXES = [*DATA, "backbone", "batch_size", "loss", "lambda", "hazards"]
_DIFFERENCE = ["difference", "difference_low", "difference_high", "pairs", "p", "p_holm", "effect_size"]
_OTHER = ["units", "corrected_low", "corrected_high", "bootstrap_low", "bootstrap_high", "pooled_low", "pooled_high"]
_NOTES = ["values", "note", "difference_values", "difference_note"]


def grid_rows(summary: pd.DataFrame, grid: str) -> pd.DataFrame:
    """Returns the rows of the cells that belong to a grid."""
    return summary[[grid in names.split() for names in summary["grids"]]]


def figure_rows(figure: Figure, summary: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the cells that a figure shows."""
    rows = summary[[bool(set(figure.grid) & set(names.split())) for names in summary["grids"]]]
    return rows[[matches(record, figure.where) for record in rows.to_dict("records")]]


def matching(rows: pd.DataFrame, place: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the cells that have these values; NaN equals NaN.

    Args:
        rows: cells, from the summary.
        place: values by axis.
    """
    for axis, value in place.items():
        rows = rows[rows[axis].isna() if pd.isna(value) else rows[axis] == value]
    return rows


def hyperparameter_columns(names: Iterable[Any]) -> list[str]:
    """Picks the columns of hyper-parameters, ``loss.…`` and ``recipe.…``, among others.

    Args:
        names: of columns; a table stands for its own.
    """
    return [name for name in map(str, names) if name.startswith(("loss.", "recipe."))]


def metrics_of(rows: pd.DataFrame, accuracy: bool = True) -> list[str]:
    """Lists the metrics that any of these cells has.

    Args:
        rows: cells, from the summary.
        accuracy: accuracies only; otherwise everything else but spreads too.
    """
    names = [name for name in rows.columns if name.startswith("metric.") and not name.endswith("_std")]
    return [name for name in names if rows[name].notna().any() and (is_accuracy(name) or not accuracy)]


def chosen_metrics(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """Lists the columns of the metrics asked for that any of these cells has, or of the main accuracies.

    Args:
        rows: cells, from the summary.
        names: such as ``top1``; the main ones when empty.
    """
    if names:
        return [f"metric.{name}" for name in names if f"metric.{name}" in metrics_of(rows, accuracy=False)]
    return [name for name in metrics_of(rows) if is_main(name)]


@dataclass(frozen=True)
class Comparison:
    """A setting beside the reference.

    Attributes:
        setting: values by axis.
        cells: its own.
        mean: its own results.
        difference: minus the reference's, on the runs of both; ``None`` without a reference.
        hazards: of either side.
    """

    setting: dict[str, Any]
    cells: pd.DataFrame
    mean: Contrast
    difference: Contrast | None
    hazards: str

    @property
    def row(self) -> dict[str, Any]:
        """The row of :func:`compare`."""
        mean, low, high, n, _ = self.mean.interval
        entry = {**self.setting, "mean": mean, "low": low, "high": high, "n": n, "units": self.mean.units}
        entry["diverged"] = int((self.cells["status"] == "diverged").sum())
        entry["overlap"], entry["difference_hazards"] = self.cells["overlap"].iloc[0], self.hazards
        entry |= {"values": self.mean.listed, "note": self.mean.note}
        if self.difference is None:
            return {**entry, "difference_values": "", "difference_note": ""}
        entry |= _difference(self.difference) | _percentiles(self.difference)
        entry |= {"difference_values": self.difference.listed, "difference_note": self.difference.note}
        for name in ("pooled", "corrected"):
            interval = getattr(self.difference, name)
            entry |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return entry


def _comparison(
    rows: pd.DataFrame, setting: dict[str, Any], cells: pd.DataFrame, metric: str, reference: str
) -> Comparison:
    own = contrast([(1.0, cells)], metric)
    baseline = None if setting["loss"] == reference else baseline_of(rows, setting, metric, reference)
    if baseline is None:
        return Comparison(setting, cells, own, None, "")
    difference = contrast([(1.0, cells), (-1.0, baseline)], metric)
    return Comparison(setting, cells, own, difference, hazards_in(cells, baseline))


def compare(rows: pd.DataFrame, metric: str, reference: str = "ce") -> pd.DataFrame:
    """Compares the settings of a grid.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.
        reference: the loss to which differences are taken, at equal λ unless it is cross-entropy.

    Returns:
        One row per setting: the axes, hyper-parameters that vary among cells of the same axes, ``mean``, ``low``,
        ``high``, ``n`` (finished runs), ``diverged``, ``overlap`` (with the pre-training), ``units`` (test images or
        episodes behind the interval); against the reference on the same images, backbone, batch size, splits, folds
        and seeds: ``difference``, ``difference_low``, ``difference_high``, ``pairs``, ``p``, ``p_holm`` (over this
        table), ``effect_size``, ``difference_hazards`` (of either side), percentiles of the plain bootstrap,
        ``bootstrap_low``, ``bootstrap_high``, the ends of the interval that takes all units of all runs for
        independent, ``pooled_low``, ``pooled_high``, and where parts test in turn, those of the interval over the
        parts, ``corrected_low``, ``corrected_high``. ``note`` and ``difference_note`` say that an interval holds for
        these classes only, or why there is none; ``values`` and ``difference_values`` list the runs if they are few.
        Accuracies are in per cent, differences in points; other metrics are as they are.
    """
    varying = varying_columns(rows)
    found = [_comparison(rows, setting, members, metric, reference) for setting, members in settings_of(rows)]
    columns = [*AXES, *varying, "overlap", "mean", "low", "high", "n", "diverged", *_DIFFERENCE]
    columns += ["difference_hazards", *_OTHER, *_NOTES]
    frame = pd.DataFrame([one.row for one in found]).reindex(columns=columns)
    frame["p_holm"] = holm(frame["p"])
    return (
        frame.assign(order=frame["loss"].map(supervised_loss).map(loss_order))
        .sort_values([*DATA, "backbone", "batch_size", "order", "loss", "lambda", *varying])
        .drop(columns="order")
    )


def hazards_in(*sides: pd.DataFrame) -> str:
    """Names the hazards that any of these cells has, as their own column does.

    Args:
        sides: cells, from the summary.
    """
    own = {hazards for rows in sides for hazards in rows["hazards"]}
    return ", ".join(known_hazards({name for hazards in own for name in hazards.split(", ") if name}))


def compare_pairs(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compares any two settings of a grid that share images, backbone and batch size.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.

    Returns:
        One row per pair: what they share, ``first`` and ``second`` (labels), ``first_loss``, ``second_loss``, and the
        difference as in :func:`compare`, first minus second.
    """
    shared = [*DATA, "backbone", "batch_size"]
    table = []
    for place, members in rows.groupby(shared, dropna=False):
        settings = {distinct_label(setting, rows): (setting, own) for setting, own in settings_of(members)}
        for (first, (one, its)), (second, (other, others)) in combinations(settings.items(), 2):
            difference = contrast([(1.0, its), (-1.0, others)], metric)
            entry = {**dict(zip(shared, place, strict=True)), "first": first, "second": second}
            table.append({**entry, "first_loss": one["loss"], "second_loss": other["loss"], **_difference(difference)})
    columns = [*shared, "first", "second", "first_loss", "second_loss", *_DIFFERENCE]
    frame = pd.DataFrame(table, columns=[name for name in columns if name != "p_holm"])
    return frame.assign(p_holm=holm(frame["p"]))[columns]


def variance_of_differences(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Says where the variance of each mean difference to cross-entropy comes from.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.

    Returns:
        Four rows per setting: the axes, ``setting`` (its label), ``component`` (``split``, ``seed``, ``unit`` for test
        images or episodes, ``rest``), ``variance`` (points²; it sums to that of the mean difference) and ``share``.
        The share of the split is known from two splits on.
    """
    table = []
    for setting, members in settings_of(rows):
        baseline = baseline_of(rows, setting, metric)
        if setting["loss"] == "ce" or baseline is None:
            continue
        parts = _components(contrast([(1.0, members), (-1.0, baseline)], metric))
        if not parts:
            continue
        place = {name: setting[name] for name in [*DATA, "backbone", "batch_size"]}
        total = sum(parts.values())
        for component, variance in parts.items():
            entry = {**place, "setting": distinct_label(setting, rows), "component": component, "variance": variance}
            table.append({**entry, "share": variance / total if total > 0 else np.nan})
    columns = [*DATA, "backbone", "batch_size", "setting", "component", "variance", "share"]
    return pd.DataFrame(table, columns=columns)


def settings_of(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yields what makes a setting, and its cells: one per run."""
    keys = [*AXES, *varying_columns(rows)]
    for values, members in rows.groupby(keys, dropna=False):
        yield dict(zip(keys, values, strict=True)), members


def varying_columns(rows: pd.DataFrame) -> list[str]:
    """Lists the hyper-parameters that vary among cells of the same axes."""
    groups = rows.groupby(AXES, dropna=False)
    return [name for name in hyperparameter_columns(rows) if (groups[name].nunique(dropna=False) > 1).any()]


def distinct_label(setting: dict[str, Any], rows: pd.DataFrame) -> str:
    """Names a setting among others: the loss, λ where it varies, and hyper-parameters that vary."""
    label = loss_label(setting["loss"])
    if setting["lambda"] > 0 and rows.loc[rows["lambda"] > 0, "lambda"].nunique() > 1:
        label += f", λ = {setting['lambda']:g}"
    for name in hyperparameter_columns(setting):
        if not pd.isna(setting[name]):
            label += f", {name.partition('.')[2]} = {setting[name]}"
    return f"{label}, hazards: {setting['hazards']}" if setting["hazards"] else label


def _difference(difference: Contrast) -> dict[str, float]:
    names = ("difference", "difference_low", "difference_high", "pairs", "p")
    return {**dict(zip(names, difference.interval, strict=True)), "effect_size": difference.effect_size}


def _percentiles(difference: Contrast) -> dict[str, float]:
    if len(difference.tables) != 1 or min(difference.runs, difference.units) < 2:
        return {}
    (table,) = difference.tables.values()
    low, high = np.quantile(hierarchical_bootstrap(table), [0.025, 0.975])
    return {"bootstrap_low": float(low), "bootstrap_high": float(high)}


def _components(difference: Contrast) -> dict[str, float]:
    """Gives the components of the variance of the mean over all splits; none where seeds and units are too few."""
    tables = [table for table in difference.tables.values() if min(table.shape) > 1]
    if not tables:
        return {}
    within = np.mean([crossed_components(table) for table in tables], axis=0)
    between = float(np.var([table.mean() for table in tables], ddof=1)) if len(tables) > 1 else 0.0
    split = max(between - float(within.sum()), 0)
    names = ("split", "seed", "unit", "rest")
    return dict(zip(names, (np.array([split, *within]) / len(tables)).tolist(), strict=True))


def baseline_of(rows: pd.DataFrame, setting: dict[str, Any], metric: str, reference: str = "ce") -> pd.DataFrame | None:
    """Finds the reference's cells that a setting is compared with; ``None`` if there are none or several kinds."""
    shared = [*DATA, "backbone", "batch_size", *([] if reference == "ce" else ["lambda"])]
    same = matching(rows, {"loss": reference, **{axis: setting[axis] for axis in shared}}).dropna(subset=[metric])
    # Several settings of the reference (a sweep of its learning rate) leave no one baseline.
    return None if same.empty or same.duplicated(RUN).any() else same
