"""Settings: what cells share that differ only in split, fold and seed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.analysis.paired_outcomes import run_of
from clce_bench.analysis.summary_rows import AXES, PLACE, Row, hyperparameter_columns, known
from clce_bench.labels import loss_label


def settings_of(cells: list[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """Yields what makes a setting, and its cells: one per run."""
    keys = [*AXES, *varying_columns(cells)]
    for values, own in grouped(cells, keys).items():
        yield dict(zip(keys, values, strict=True)), own


def with_baselines(
    cells: list[Row], metric: str, reference: str = "ce"
) -> Iterator[tuple[Row, list[Row], list[Row] | None]]:
    """Yields each setting, its cells, and the reference's cells that they are compared with.

    Args:
        cells: of a grid.
        metric: a column that the reference's cells need a value of.
        reference: the loss that others are compared with, at equal λ unless it is cross-entropy.

    Yields:
        ``None`` for the reference itself, and where it has no cells or, as in a sweep of its learning rate, several
        settings, which leave no one baseline.
    """
    shared = [*PLACE, *([] if reference == "ce" else ["lambda"])]
    baselines = grouped([cell for cell in known(cells, metric) if cell["loss"] == reference], shared)
    for setting, own in settings_of(cells):
        baseline = baselines.get(tuple(setting[axis] for axis in shared), [])
        unique = len(set(map(run_of, baseline))) == len(baseline) > 0
        yield setting, own, baseline if unique and setting["loss"] != reference else None


def varying_columns(cells: list[Row]) -> list[str]:
    """Lists the hyper-parameters that vary among cells of the same axes."""
    groups = grouped(cells, AXES).values()
    names = hyperparameter_columns(cells[0]) if cells else []
    return [name for name in names if any(len({cell[name] for cell in own}) > 1 for own in groups)]


def grouped(cells: list[Row], keys: list[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Does what ``groupby(keys, dropna=False)`` does: groups in the order of their values, by these.

    Args:
        cells: from :func:`clce_bench.analysis.summary_rows.as_rows`.
        keys: columns.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for cell in cells:
        found.setdefault(tuple([cell[key] for key in keys]), []).append(cell)
    return dict(sorted(found.items(), key=lambda item: [_rank(value) for value in item[0]]))


def _rank(value: Any) -> tuple[bool, bool, Any]:
    """Orders numbers before text, and what is missing last."""
    missing = value is np.nan
    return missing, isinstance(value, str), 0 if missing else value


def distinct_labels(cells: list[Row]) -> Callable[[Row], str]:
    """Returns what names a setting among these cells: by loss, λ where it varies, and hyper-parameters that vary."""
    several = len({cell["lambda"] for cell in cells if cell["lambda"] > 0}) > 1

    def label(setting: Row) -> str:
        parts = [loss_label(setting["loss"])]
        if several and setting["lambda"] > 0:
            parts.append(f"λ = {setting['lambda']:g}")
        values = {name: setting[name] for name in hyperparameter_columns(setting)}
        parts += [f"{name.partition('.')[2]} = {value}" for name, value in values.items() if not pd.isna(value)]
        return ", ".join([*parts, *([f"hazards: {setting['hazards']}"] if setting["hazards"] else [])])

    return label
