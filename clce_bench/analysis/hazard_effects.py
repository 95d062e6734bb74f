"""What hazards do to the differences to cross-entropy: the same comparison with and without them, pair by pair."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.intervals import Interval
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.result_tables import with_interval
from clce_bench.analysis.settings import varying_columns, with_baselines
from clce_bench.analysis.significance import holm
from clce_bench.analysis.summary_labels import data_label
from clce_bench.analysis.summary_rows import PLACE, Row, as_rows, grid_rows, hazards_in
from clce_bench.components.loss_info import loss_order
from clce_bench.labels import axis_label, setting_label, value_label

_SETTING = [*PLACE, "loss", "lambda"]
_CE = ("ce", "ce_low", "ce_high")
_CE_CHANGE = ("ce_change", "ce_change_low", "ce_change_high")
_DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs")
_CHANGE = ("change", "change_low", "change_high", "change_pairs", "p")
_SAME = Interval(np.nan, np.nan, np.nan, 0, np.nan)
Terms = list[tuple[float, list[Row]]]


def audit_of(rows: pd.DataFrame, grids: list[str], metric: str) -> pd.DataFrame:
    """Compares the difference to cross-entropy in each grid with that in the first one.

    Args:
        rows: cells of all grids, from the summary.
        grids: the first one without hazards.
        metric: a column such as ``metric.top1``.

    Returns:
        A row per grid, place and contrastive setting: ``grid``, ``hazards`` (of any of the grid's cells), the axes,
        hyper-parameters that vary, ``setting`` (their label), cross-entropy's own mean ``ce`` and its change against
        the first grid, ``ce_change``, with their intervals, ``difference`` to cross-entropy with its interval, the
        interval that pooling gives (``pooled_low``, ``pooled_high``), and ``change`` of the difference against the
        first grid on the runs, images or episodes that all four sides have, with its interval, ``p`` and ``p_holm``
        (over this table). The first grid has no change, nor has what rests on the very same cells as there.
    """
    told = _told(rows)
    honest = {_key(own, told): (own, baseline) for own, baseline in _compared(grid_rows(rows, grids[0]), metric)}
    table = []
    for grid in grids:
        members = grid_rows(rows, grid)
        for own, baseline in _compared(members, metric):
            setting, key = _setting(own, told), _key(own, told)
            entry = {
                "grid": grid,
                "hazards": hazards_in(members["hazards"]),
                **setting,
                "setting": _label(setting, told),
            }
            difference: Terms = [(1.0, own), (-1.0, baseline)]
            found = contrast(difference, metric)
            entry |= dict(zip(_CE, contrast([(1.0, baseline)], metric).interval, strict=False))
            entry |= dict(zip(_DIFFERENCE, found.interval, strict=False))
            entry |= {"pooled_low": found.pooled.low, "pooled_high": found.pooled.high}
            if grid != grids[0] and key in honest:
                its, reference = honest[key]
                change = _change(difference, [(1.0, its), (-1.0, reference)], metric)
                own_change = _change([(1.0, baseline)], [(1.0, reference)], metric)
                entry |= dict(zip(_CHANGE, change, strict=True)) | dict(zip(_CE_CHANGE, own_change, strict=False))
            table.append(entry)
    axes = ["grid", "hazards", *_SETTING, *told, "setting", *_CE, *_CE_CHANGE]
    frame = pd.DataFrame(table).reindex(columns=[*axes, *_DIFFERENCE, "pooled_low", "pooled_high", *_CHANGE])
    return frame.assign(p_holm=holm(frame["p"]))


def _told(rows: pd.DataFrame) -> list[str]:
    """Lists hyper-parameters of which a loss has several values, within a grid or between grids.

    Of the recipe only what varies within: hazards change it too.
    """
    values = rows.groupby(_SETTING, dropna=False)
    losses = [name for name in rows.columns if name.startswith("loss.")]
    between = [name for name in losses if (values[name].nunique(dropna=False) > 1).any()]
    return list(dict.fromkeys([*between, *varying_columns(as_rows(rows))]))


def _compared(rows: pd.DataFrame, metric: str) -> Iterator[tuple[list[Row], list[Row]]]:
    for _, own, baseline in sorted(with_baselines(as_rows(rows), metric), key=lambda one: loss_order(one[0]["loss"])):
        if baseline is not None:
            yield own, baseline


def _key(cells: list[Row], told: list[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in _setting(cells, told).values())


def _setting(cells: list[Row], told: list[str]) -> Row:
    return {name: cells[0][name] for name in (*_SETTING, *told)}


def _label(setting: Row, told: list[str]) -> str:
    values = [f"{axis_label(name)} {value_label(setting[name])}" for name in told if pd.notna(setting[name])]
    return ", ".join([setting_label(setting["loss"], setting["lambda"]), *values])


def _change(broken: Terms, honest: Terms, metric: str) -> Interval:
    """Compares two sums term by term; two sums of the very same cells are no comparison."""
    if all(_names(one) == _names(its) for (_, one), (_, its) in zip(broken, honest, strict=True)):
        return _SAME
    return contrast([*broken, *((-weight, cells) for weight, cells in honest)], metric).interval


def _names(cells: list[Row]) -> set[str]:
    return {cell["cell"] for cell in cells}


def audit_text(table: pd.DataFrame) -> pd.DataFrame:
    """Turns an audit into text for people.

    Args:
        table: from :func:`audit_of`.
    """
    return pd.DataFrame(
        [
            {
                "grid": row["grid"],
                "hazards": row["hazards"] or "none",
                "data set": data_label(row["dataset"], row["images_per_class"], row["label_noise"]),
                "loss": row["setting"],
                "CE [95 %]": _interval(row, "ce", signed=False),
                "change of CE [95 %]": _interval(row, "ce_change"),
                "− CE [95 %]": _interval(row, "difference"),
                "if all were independent": _ends(row["pooled_low"], row["pooled_high"]),
                "change of − CE [95 %]": _interval(row, "change"),
                "p (Holm)": "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
                "n": f"{row['pairs']:.0f}",
            }
            for row in table.to_dict("records")
        ]
    )


def _interval(row: Mapping[Hashable, Any], name: str, signed: bool = True) -> str:
    return "" if pd.isna(row[name]) else with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], signed)


def _ends(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"[{low:+.2f}, {high:+.2f}]"
