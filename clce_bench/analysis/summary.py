"""The ``summarize`` stage: every cell of an experiment in one table."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from clce_bench.analysis.comparison_files import write_answers
from clce_bench.analysis.summary_rows import ORIGIN
from clce_bench.data.pretraining_overlap import overlap_of
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.schema import Experiment
from clce_bench.files import staged
from clce_bench.planning.cell_status import State, evaluation_of, states_of, training_of
from clce_bench.planning.measure_jobs import measured_of
from clce_bench.planning.plan import Plan, plan_of
from clce_bench.planning.reruns import reruns_of


def write_summary(experiment: Experiment, output: Path) -> None:
    """Writes ``summary.csv``, ``summary.parquet`` (a row per cell), ``history.parquet`` (a row per epoch), and answers.

    Cells that are missing or failed have a row without metrics.
    """
    plan = plan_of(experiment)
    summary = summary_table(plan)
    histories = [history.assign(cell=cell.name) for cell in plan.cells if (history := _history(cell)) is not None]
    with staged(output, last="summary.parquet") as folder:
        summary.to_csv(folder / "summary.csv", index=False)
        summary.to_parquet(folder / "summary.parquet", index=False)
        pd.concat(histories or [pd.DataFrame({"cell": []})]).to_parquet(folder / "history.parquet", index=False)
    write_answers(experiment, summary, output)


def _history(cell: Cell) -> pd.DataFrame | None:
    try:
        return pd.read_csv(cell.directory / "history.csv")
    except (FileNotFoundError, ValueError):  # A damaged one is of a cell that is trained again.
        return None


def summary_table(plan: Plan) -> pd.DataFrame:
    """Builds the table of all cells of an experiment.

    Returns:
        One row per cell: ``cell``, ``grids`` (names joined by blanks), the axes, ``overlap`` (of the data set with
        the backbone's pre-training), ``loss.…`` and ``recipe.…``,
        ``status``, ``reason``, ``metric.…``, ``validation`` (accuracy at the end), ``probe_strength``,
        times, memory; and where it comes
        from: ``device``, ``platform``, ``host``, ``versions`` (Python and packages), ``torch``, ``git_commit``,
        ``code`` and ``evaluate_code`` (fingerprints), ``accepted`` (why changed code does not matter, if it was said).
    """
    grids_of: dict[str, list[str]] = {cell.name: [] for cell in plan.cells}
    for grid, members in plan.grids.items():
        for cell in members:
            grids_of[cell.name].append(grid)
    states = states_of(reruns_of(plan))
    rows = [
        {**_axes(cell, " ".join(grids_of[cell.name])), **_outcome(cell, states[cell.name], plan.measures_of(cell))}
        for cell in plan.cells
    ]
    return pd.DataFrame(rows).apply(_of_one_type)


def _of_one_type(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Makes words of all values of an axis that has numbers and words: temperatures of which one is ``learned``."""
    if str(column.name).startswith("loss.") and len({isinstance(value, str) for value in column.dropna()}) > 1:
        return column.map(lambda value: value if isinstance(value, str) else f"{value:g}", na_action="ignore")
    return column


def _axes(cell: Cell, grids: str) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "directory": str(cell.directory),
        "grids": grids,
        **cell.axes,
        "overlap": overlap_of(cell.backbone.name, cell.backbone.weights, cell.dataset).verdict,
        "test_to_train": cell.split.test_to_train,
    }


def _outcome(cell: Cell, state: State, measures: list[Path]) -> dict[str, Any]:
    outcome: dict[str, Any] = {"status": state.status, "reason": state.reason, **dict.fromkeys(ORIGIN)}
    if record := training_of(cell):
        outcome |= {
            "started": record["started"],
            "train_seconds": record["seconds"],
            "peak_memory_mib": record["peak_memory_mib"],
            "waiting_for_data": record["waiting_for_data"],
        }
        # A whole table for one number would take most of the time that thousands of cells take.
        with suppress(OSError, ValueError, KeyError), (cell.directory / "history.csv").open(newline="") as file:
            for epoch in csv.DictReader(file):
                outcome["validation"] = float(epoch["validation"] or "nan")
        evaluation = evaluation_of(cell)
        outcome |= _origin(record, evaluation or {})
        if evaluation:
            outcome["evaluate_seconds"] = evaluation["seconds"]
            outcome["probe_strength"] = (evaluation.get("probe") or {}).get("C")
            absent = [f"no {name}: {reason}" for name, reason in evaluation.get("absent", {}).items()]
            outcome["reason"] = "; ".join(filter(None, [outcome["reason"], *absent]))
            outcome |= {f"metric.{name}": value for name, value in evaluation["metrics"].items()}
        for found in measured_of(cell, measures):
            outcome |= {f"metric.{name}": value for name, value in found["metrics"].items()}
    return outcome


def _origin(train: dict[str, Any], evaluate: dict[str, Any]) -> dict[str, Any]:
    """Says by which code, with which packages and where a cell was trained and measured."""
    environment = train["environment"]
    packages = {"Python": environment["python"], **environment["packages"]}
    accepted = [
        f"{entry['reason']} ({entry['who']}, {entry['when'][:10]})"
        for record in (train, evaluate)
        for entry in record.get("accepted", [])
    ]
    return {
        "device": environment["gpu"] or environment["cpu"],
        "platform": environment["platform"],
        "host": environment.get("host"),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "torch": environment["packages"].get("torch"),
        "git_commit": environment["git_commit"],
        "code": train["job"]["code"],
        "evaluate_code": evaluate["job"]["code"] if evaluate else None,
        "accepted": "; ".join(dict.fromkeys(accepted)),
    }
