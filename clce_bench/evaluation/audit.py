"""What hazards do to the differences to cross-entropy: the same comparison with and without them, pair by pair."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from clce_bench.evaluation.compare import DATA, LOSS_ORDER, baseline_of, grid_rows, settings_of
from clce_bench.evaluation.contrast import Contrast, contrast
from clce_bench.evaluation.statistics import holm
from clce_bench.evaluation.tables import with_interval
from clce_bench.hazards import known_hazards
from clce_bench.labels import data_label, setting_label

PLACE = [*DATA, "backbone", "batch_size"]
_DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs")
_CHANGE = ("change", "change_low", "change_high", "change_pairs", "p")


def audit_of(rows: pd.DataFrame, grids: list[str], metric: str) -> pd.DataFrame:
    """Compares the difference to cross-entropy in each grid with that in the first one.

    Args:
        rows: cells of all grids, from the summary.
        grids: the first one without hazards.
        metric: a column such as ``metric.top1``.

    Returns:
        A row per grid, place and contrastive setting: ``grid``, ``hazards`` (of any of the grid's cells), the axes,
        ``difference`` to cross-entropy with its interval, the interval that pooling gives (``pooled_low``,
        ``pooled_high``), and ``change`` against the first grid on the runs, images or episodes that all four sides
        have, with its interval, ``p`` and ``p_holm`` (over this table). The first grid has no change.
    """
    honest = {_key(setting): (own, baseline) for setting, own, baseline in _compared(grid_rows(rows, grids[0]), metric)}
    table = []
    for grid in grids:
        members = grid_rows(rows, grid)
        hazards = known_hazards({name for names in members["hazards"] for name in names.split(", ") if name})
        for setting, own, baseline in _compared(members, metric):
            found = contrast([(1.0, own), (-1.0, baseline)], metric)
            entry = {"grid": grid, **setting, "hazards": ", ".join(hazards)}
            entry |= dict(zip(_DIFFERENCE, found.interval, strict=False))
            entry |= {"pooled_low": found.pooled.low, "pooled_high": found.pooled.high}
            if grid != grids[0] and _key(setting) in honest:
                entry |= dict(
                    zip(_CHANGE, _change((own, baseline), honest[_key(setting)], metric).interval, strict=True)
                )
            table.append(entry)
    axes = ["grid", "hazards", *PLACE, "loss", "lambda"]
    frame = pd.DataFrame(table).reindex(columns=[*axes, *_DIFFERENCE, "pooled_low", "pooled_high", *_CHANGE])
    return frame.assign(p_holm=holm(frame["p"]))


def _compared(rows: pd.DataFrame, metric: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    found = []
    for setting, members in settings_of(rows):
        baseline = baseline_of(rows, setting, metric)
        if setting["loss"] != "ce" and baseline is not None:
            found.append((setting, members, baseline))
    known = {name: place for place, name in enumerate(LOSS_ORDER)}
    yield from sorted(found, key=lambda one: known.get(one[0]["loss"], len(known)))


def _key(setting: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(setting[axis]) for axis in (*PLACE, "loss", "lambda"))


def _change(
    broken: tuple[pd.DataFrame, pd.DataFrame], honest: tuple[pd.DataFrame, pd.DataFrame], metric: str
) -> Contrast:
    (own, baseline), (its, reference) = broken, honest
    return contrast([(1.0, own), (-1.0, baseline), (-1.0, its), (1.0, reference)], metric)


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
                "data set": data_label(row["dataset"], row["images_per_class"]),
                "loss": setting_label(row["loss"], row["lambda"]),
                "− CE [95 %]": _interval(row, "difference"),
                "if all were independent": _ends(row["pooled_low"], row["pooled_high"]),
                "change [95 %]": _interval(row, "change"),
                "p (Holm)": "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
                "n": f"{row['pairs']:.0f}",
            }
            for row in table.to_dict("records")
        ]
    )


def _interval(row: Mapping[Hashable, Any], name: str) -> str:
    return "" if pd.isna(row[name]) else with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], signed=True)


def _ends(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"[{low:+.2f}, {high:+.2f}]"
