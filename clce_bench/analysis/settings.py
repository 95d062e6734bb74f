"""Settings: what cells share that differ only in split, fold and seed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.paired_outcomes import RUN
from clce_bench.analysis.summary_rows import AXES, PLACE, hyperparameter_columns, matching
from clce_bench.labels import loss_label


def settings_of(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yields what makes a setting, and its cells: one per run."""
    keys = [*AXES, *varying_columns(rows)]
    for values, places in _grouped(rows, keys):
        yield dict(zip(keys, values, strict=True)), rows.iloc[places]


def varying_columns(rows: pd.DataFrame) -> list[str]:
    """Lists the hyper-parameters that vary among cells of the same axes."""
    groups = [places for _, places in _grouped(rows, AXES)]
    columns = {name: _values(rows[name]) for name in hyperparameter_columns(rows)}
    return [
        name
        for name, values in columns.items()
        if len(set(values)) > 1 and any(len({values[place] for place in places}) > 1 for places in groups)
    ]


def _grouped(rows: pd.DataFrame, keys: list[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    """Does what ``groupby(keys, dropna=False)`` does, whose own preparations take long where rows are few."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, values in enumerate(zip(*(_values(rows[key]) for key in keys), strict=True)):
        found.setdefault(values, []).append(place)
    return sorted(found.items(), key=lambda item: [_rank(value) for value in item[0]])


def _values(column: "pd.Series[Any]") -> list[Any]:
    """Lists values; what is missing is one and the same NaN, so that it equals itself in a set."""
    return [
        np.nan if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)
    ]


def _rank(value: Any) -> tuple[bool, bool, Any]:
    """Orders numbers before text, and what is missing last."""
    missing = value is np.nan
    return missing, isinstance(value, str), 0 if missing else value


def distinct_label(setting: dict[str, Any], rows: pd.DataFrame) -> str:
    """Names a setting among others: the loss, λ where it varies, and hyper-parameters that vary."""
    label = loss_label(setting["loss"])
    if setting["lambda"] > 0 and rows.loc[rows["lambda"] > 0, "lambda"].nunique() > 1:
        label += f", λ = {setting['lambda']:g}"
    for name in hyperparameter_columns(setting):
        if not pd.isna(setting[name]):
            label += f", {name.partition('.')[2]} = {setting[name]}"
    return f"{label}, hazards: {setting['hazards']}" if setting["hazards"] else label


def baseline_of(rows: pd.DataFrame, setting: dict[str, Any], metric: str, reference: str = "ce") -> pd.DataFrame | None:
    """Finds the reference's cells that a setting is compared with; ``None`` if there are none or several kinds."""
    shared = [*PLACE, *([] if reference == "ce" else ["lambda"])]
    same = matching(rows, {"loss": reference, **{axis: setting[axis] for axis in shared}}).dropna(subset=[metric])
    # Several settings of the reference (a sweep of its learning rate) leave no one baseline.
    return None if same.empty or same.duplicated(RUN).any() else same
