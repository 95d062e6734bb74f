"""How losses rank before and after something changes, such as their settings."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.intervals import Interval
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.result_tables import with_interval
from clce_bench.analysis.significance import holm
from clce_bench.analysis.summary_labels import data_label
from clce_bench.analysis.summary_rows import PLACE, as_rows, grid_rows, matching
from clce_bench.labels import axis_label, loss_label, value_label

SIDES = ("before", "after")
_CHANGE = ("change", "change_low", "change_high", "pairs", "p")


def ranks_of(rows: pd.DataFrame, grids: list[str], metric: str) -> pd.DataFrame:
    """Ranks the losses of two grids and compares each loss with itself.

    Args:
        rows: cells of both, from the summary; each loss in one setting per grid and place.
        grids: the one before and the one after.
        metric: a column such as ``metric.top1``.

    Returns:
        A row per place and loss that both grids have: for each side ``SIDE`` (the mean), ``SIDE_low``, ``SIDE_high``,
        ``SIDE_rank`` (1 is best) and ``SIDE_settings``; ``change``, after minus before on the runs and images that both
        have, with its interval, ``pairs``, ``p`` and ``p_holm`` (over this table).
    """
    sides = [_side(grid_rows(rows, grid), name, metric) for grid, name in zip(grids, SIDES, strict=True)]
    table = sides[0].merge(sides[1], on=[*PLACE, "loss"])
    changes = [_change(rows, grids, row, metric) for row in table.to_dict("records")]
    found = table.assign(**{name: [change[n] for change in changes] for n, name in enumerate(_CHANGE)})
    return found.assign(p_holm=holm(found["p"])).sort_values([*PLACE, "after_rank"])


def _change(rows: pd.DataFrame, grids: list[str], place: Mapping[Hashable, Any], metric: str) -> Interval:
    same = {axis: place[axis] for axis in (*PLACE, "loss")}
    before, after = (as_rows(matching(grid_rows(rows, grid), same)) for grid in grids)
    return contrast([(1.0, after), (-1.0, before)], metric).interval


def _side(rows: pd.DataFrame, name: str, metric: str) -> pd.DataFrame:
    table = compare(rows, metric).dropna(subset=["mean"])
    table = table.drop_duplicates([*PLACE, "loss"], keep=False).copy()
    table["rank"] = table.groupby(PLACE, dropna=False)["mean"].rank(ascending=False)
    table["settings"] = [_settings(rows[rows["loss"] == loss].iloc[0]) for loss in table["loss"]]
    sides = {"mean": name, **{column: f"{name}_{column}" for column in ("low", "high", "rank", "settings")}}
    return table.rename(columns=sides)[[*PLACE, "loss", *sides.values()]]


def _settings(cell: "pd.Series[Any]") -> str:
    """Writes λ, the hyper-parameters and the learning rate of a cell."""
    names = [str(name) for name in cell.index if str(name).startswith("loss.")]
    values = {"λ": cell["lambda"] or None, **{name: cell[name] for name in names}}
    values |= {name: cell.get(name) or None for name in ("recipe.learning_rate", "recipe.label_smoothing")}
    known = {axis_label(name): value for name, value in values.items() if value is not None and pd.notna(value)}
    return ", ".join(f"{name} {value_label(value)}" for name, value in known.items())


def ranks_text(table: pd.DataFrame) -> pd.DataFrame:
    """Turns ranks into text for people.

    Args:
        table: from :func:`ranks_of`.
    """
    entries = []
    for row in table.to_dict("records"):
        entry = {
            "data set": data_label(row["dataset"], row["images_per_class"], row["label_noise"]),
            "loss": loss_label(row["loss"]),
        }
        for side in SIDES:
            entry[f"rank {side}"] = f"{row[f'{side}_rank']:g}"
            entry[f"{side} [95 %]"] = with_interval(row[side], row[f"{side}_low"], row[f"{side}_high"])
        entry["change [95 %]"] = with_interval(row["change"], row["change_low"], row["change_high"], signed=True)
        entry["p (Holm)"] = "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}"
        entry["n"] = f"{row['pairs']}"
        entries.append(entry | {f"settings {side}": row[f"{side}_settings"] for side in SIDES})
    return pd.DataFrame(entries)
