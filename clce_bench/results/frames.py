"""The results of an experiment as data frames, for notebooks."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from clce_bench.errors import UserError, unknown

EXPERIMENTS = Path("results/experiments")


class Results(NamedTuple):
    """Tidy tables; docs/statistics.md lists their columns.

    Attributes:
        cells: a row per cell: axes, status, ``metric.…``, times.
        history: a row per cell and epoch.
        comparisons: a row per grid, metric and setting: mean, difference to cross-entropy, intervals.
        verdicts: a row per claim.
    """

    cells: pd.DataFrame
    history: pd.DataFrame
    comparisons: pd.DataFrame
    verdicts: pd.DataFrame


def load_results(experiment: str | Path = "default") -> Results:
    """Reads the tables of an experiment that has been run.

    Args:
        experiment: its name, or its folder.

    Raises:
        UserError: it has no results here.
    """
    folder = Path(experiment)
    if not (folder / "summary.parquet").is_file():
        folder = EXPERIMENTS / str(experiment)
    if not (folder / "summary.parquet").is_file():
        known = [path.parent.name for path in EXPERIMENTS.glob("*/summary.parquet")]
        raise UserError(
            unknown("an experiment with results here", str(experiment), known, f"Known: {', '.join(known)}")
        )
    cells, history, comparisons = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("summary", "history", "comparisons")
    )
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    return Results(cells, history, comparisons, pd.DataFrame(verdicts))
