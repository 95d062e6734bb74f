"""Settings: what cells share that differ only in split, fold and seed."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from clce_bench.analysis.paired_outcomes import RUN
from clce_bench.analysis.summary_rows import AXES, DATA, hyperparameter_columns, matching
from clce_bench.labels import loss_label


def settings_of(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yields what makes a setting, and its cells: one per run."""
    keys = [*AXES, *varying_columns(rows)]
    for values, members in rows.groupby(keys, dropna=False):
        yield dict(zip(keys, values, strict=True)), members


def varying_columns(rows: pd.DataFrame) -> list[str]:
    """Lists the hyper-parameters that vary among cells of the same axes."""
    names = [name for name in hyperparameter_columns(rows) if rows[name].nunique(dropna=False) > 1]
    groups = rows.groupby(AXES, dropna=False)
    return [name for name in names if (groups[name].nunique(dropna=False) > 1).any()]


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
    shared = [*DATA, "backbone", "batch_size", *([] if reference == "ce" else ["lambda"])]
    same = matching(rows, {"loss": reference, **{axis: setting[axis] for axis in shared}}).dropna(subset=[metric])
    # Several settings of the reference (a sweep of its learning rate) leave no one baseline.
    return None if same.empty or same.duplicated(RUN).any() else same
