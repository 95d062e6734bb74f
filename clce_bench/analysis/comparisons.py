"""Losses side by side: means with intervals, differences to cross-entropy and between any two settings."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from clce_bench.analysis.bootstrap import hierarchical_bootstrap
from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.power import visible_by
from clce_bench.analysis.settings import distinct_labels, grouped, settings_of, with_baselines
from clce_bench.analysis.significance import holm
from clce_bench.analysis.summary_labels import is_accuracy
from clce_bench.analysis.summary_rows import AXES, PLACE, Row, as_rows, hazards_in, hyperparameter_columns
from clce_bench.components.loss_info import loss_order
from clce_bench.labels import supervised_loss

_DIFFERENCE = ["difference", "difference_low", "difference_high", "pairs", "p", "p_holm", "effect_size"]
_OTHER = ["units", "corrected_low", "corrected_high", "bootstrap_low", "bootstrap_high", "pooled_low", "pooled_high"]
_NOTES = ["smallest_visible", "values", "note", "difference_values", "difference_note"]


@dataclass(frozen=True)
class Comparison:
    """A setting beside the reference.

    Attributes:
        metric: what is compared, a column.
        setting: values by axis.
        cells: its own.
        mean: its own results.
        difference: minus the reference's, on the runs of both; ``None`` without a reference.
        hazards: of either side.
    """

    metric: str
    setting: Row
    cells: list[Row]
    mean: Contrast
    difference: Contrast | None
    hazards: str

    @property
    def row(self) -> Row:
        """The row of :func:`compare`."""
        mean, low, high, n, _ = self.mean.interval
        entry = {**self.setting, "mean": mean, "low": low, "high": high, "n": n, "units": self.mean.units}
        entry["diverged"] = sum(cell["status"] == "diverged" for cell in self.cells)
        entry["overlap"], entry["difference_hazards"] = self.cells[0]["overlap"], self.hazards
        entry |= {"values": self.mean.listed, "note": self.mean.note}
        if self.difference is None:
            return {**entry, "difference_values": "", "difference_note": ""}
        entry |= _difference(self.difference) | _percentiles(self.difference)
        entry |= {"difference_values": self.difference.listed, "difference_note": self.difference.note}
        entry["smallest_visible"] = (is_accuracy(self.metric) and visible_by(self.difference, 0.05)) or np.nan
        for name in ("pooled", "corrected"):
            interval = getattr(self.difference, name)
            entry |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return entry


def comparisons_of(rows: pd.DataFrame, metric: str, reference: str = "ce") -> list[Comparison]:
    """Puts each setting of a grid beside the reference.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.
        reference: the loss to which differences are taken, at equal λ unless it is cross-entropy.
    """
    return [_comparison(metric, *compared) for compared in with_baselines(as_rows(rows), metric, reference)]


def _comparison(metric: str, setting: Row, cells: list[Row], baseline: list[Row] | None) -> Comparison:
    mean = contrast([(1.0, cells)], metric)
    if baseline is None:
        return Comparison(metric, setting, cells, mean, None, "")
    difference = contrast([(1.0, cells), (-1.0, baseline)], metric)
    hazards = hazards_in(cell["hazards"] for cell in [*cells, *baseline])
    return Comparison(metric, setting, cells, mean, difference, hazards)


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
        parts, ``corrected_low``, ``corrected_high``. ``smallest_visible``, of accuracies, is the true difference that
        these runs would have found four times in five at the level 0.05. ``note`` and ``difference_note`` say that
        an interval holds for these classes only, or why there is none; ``values`` and ``difference_values`` list the
        runs if they are few. Accuracies are in per cent, differences in points; other metrics are as they are.
    """
    return comparison_frame(comparisons_of(rows, metric, reference))


def comparison_frame(found: list[Comparison]) -> pd.DataFrame:
    """Makes the table of :func:`compare`."""
    varying = hyperparameter_columns(found[0].setting) if found else []
    columns = [*AXES, *varying, "overlap", "mean", "low", "high", "n", "diverged", *_DIFFERENCE]
    columns += ["difference_hazards", *_OTHER, *_NOTES]
    frame = pd.DataFrame([one.row for one in found]).reindex(columns=columns)
    frame["p_holm"] = holm(frame["p"])
    return (
        frame.assign(order=frame["loss"].map(supervised_loss).map(loss_order))
        .sort_values([*PLACE, "order", "loss", "lambda", *varying])
        .drop(columns="order")
    )


def compare_pairs(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Compares any two settings of a grid that share images, backbone and batch size.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.

    Returns:
        One row per pair: what they share, ``first`` and ``second`` (labels), ``first_loss``, ``second_loss``, and the
        difference as in :func:`compare`, first minus second.
    """
    cells, table = as_rows(rows), []
    label = distinct_labels(cells)
    for place, members in grouped(cells, PLACE).items():
        ordered = sorted(settings_of(members), key=lambda one: loss_order(supervised_loss(one[0]["loss"])))
        settings = {label(setting): (setting, own) for setting, own in ordered}
        for (first, (one, its)), (second, (other, others)) in combinations(settings.items(), 2):
            difference = contrast([(1.0, its), (-1.0, others)], metric)
            entry = {**dict(zip(PLACE, place, strict=True)), "first": first, "second": second}
            table.append({**entry, "first_loss": one["loss"], "second_loss": other["loss"], **_difference(difference)})
    columns = [*PLACE, "first", "second", "first_loss", "second_loss", *_DIFFERENCE]
    frame = pd.DataFrame(table, columns=[name for name in columns if name != "p_holm"])
    return frame.assign(p_holm=holm(frame["p"]))[columns]


def _difference(difference: Contrast) -> dict[str, float]:
    names = ("difference", "difference_low", "difference_high", "pairs", "p")
    return {**dict(zip(names, difference.interval, strict=True)), "effect_size": difference.effect_size}


def _percentiles(difference: Contrast) -> dict[str, float]:
    if len(difference.tables) != 1 or min(difference.runs, difference.units) < 2:
        return {}
    (table,) = difference.tables.values()
    low, high = np.quantile(hierarchical_bootstrap(table), [0.025, 0.975])
    return {"bootstrap_low": float(low), "bootstrap_high": float(high)}
