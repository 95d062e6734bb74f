"""The ``summarize`` stage: every cell of an experiment in one table."""

import csv
from collections.abc import Iterable
from contextlib import suppress
from io import StringIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from clce_bench.analysis.comparison_files import write_answers
from clce_bench.analysis.summary_rows import ORIGIN
from clce_bench.data.pretraining_overlap import overlap_of
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.schema import Experiment
from clce_bench.files import staged
from clce_bench.planning.cell_status import State, evaluation_after, states_of
from clce_bench.planning.job import Node
from clce_bench.planning.measure_jobs import measured_of
from clce_bench.planning.plan import Plan, plan_of
from clce_bench.planning.reruns import Reruns, reruns_of
from clce_bench.records.record_models import CellRecord, EvaluationRecord


def write_summary(experiment: Experiment, output: Path) -> None:
    """Writes ``summary.csv``, ``summary.parquet`` (a row per cell), ``history.parquet`` (a row per epoch), and answers.

    Cells that are missing or failed have a row without metrics.
    """
    plan = plan_of(experiment)
    summary = summary_table(plan)
    with staged(output, last="summary.parquet") as folder:
        summary.to_csv(folder / "summary.csv", index=False)
        summary.to_parquet(folder / "summary.parquet", index=False)
        _histories(plan.cells).to_parquet(folder / "history.parquet", index=False)
    write_answers(experiment, summary, output)


def _histories(cells: Iterable[Cell]) -> pd.DataFrame:
    """Reads all histories in one go: a table for each takes most of the time that thousands of cells take."""
    texts = []
    for cell in cells:
        with suppress(OSError, ValueError):  # A damaged one is of a cell that is trained again.
            header, *lines = _history(cell)
            texts.append((header, [f"{cell.name},{line}" for line in lines]))
    tables = [pd.DataFrame({"cell": []})] if not texts else []
    for header, same in groupby(texts, key=itemgetter(0)):
        text = "\n".join([f"cell,{header}", *(line for _, lines in same for line in lines)])
        tables.append(pd.read_csv(StringIO(text), quoting=csv.QUOTE_NONE, on_bad_lines="skip"))
    found = pd.concat([table for table in tables if len(table)] or tables)
    return found[[*found.columns.drop("cell"), "cell"]]


def _history(cell: Cell) -> list[str]:
    return (cell.directory / "history.csv").read_text(encoding="utf-8").splitlines()


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
    reruns = reruns_of(plan)
    states = states_of(reruns)
    rows = [
        {**_axes(cell, " ".join(grids_of[cell.name])), **_outcome(cell, states[cell.name], reruns)}
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


def _outcome(cell: Cell, state: State, reruns: Reruns) -> dict[str, Any]:
    outcome: dict[str, Any] = {"status": state.status, "reason": state.reason, **dict.fromkeys(ORIGIN)}
    training = reruns.record(Node("train", cell.key))
    if isinstance(training, CellRecord):
        outcome |= {
            "started": training.started,
            "train_seconds": training.seconds,
            "peak_memory_mib": training.peak_memory_mib,
            "waiting_for_data": training.waiting_for_data,
        }
        with suppress(OSError, ValueError, KeyError):
            header, *_, last = _history(cell)
            epoch = dict(zip(header.split(","), last.split(","), strict=True))
            outcome["validation"] = float(epoch["validation"] or "nan")
        evaluation = evaluation_after(training, cell)
        outcome |= _origin(training, evaluation)
        if evaluation:
            outcome["evaluate_seconds"] = evaluation.seconds
            outcome["probe_strength"] = (evaluation.probe or {}).get("C")
            absent = [f"no {name}: {reason}" for name, reason in evaluation.absent.items()]
            outcome["reason"] = "; ".join(filter(None, [outcome["reason"], *absent]))
            outcome |= {f"metric.{name}": value for name, value in evaluation.metrics.items()}
        for found in measured_of(cell, reruns.plan.measures_of(cell)):
            outcome |= {f"metric.{name}": value for name, value in found["metrics"].items()}
    return outcome


def _origin(training: CellRecord, evaluation: EvaluationRecord | None) -> dict[str, Any]:
    """Says by which code, with which packages and where a cell was trained and measured."""
    environment = training.environment
    packages = {"Python": environment.python, **environment.packages}
    accepted = [
        f"{entry.reason} ({entry.who}, {entry.when[:10]})"
        for record in (training, evaluation)
        for entry in (record.accepted if record else [])
    ]
    return {
        "device": environment.gpu or environment.cpu,
        "platform": environment.platform,
        "host": getattr(environment, "host", None),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "torch": environment.packages.get("torch"),
        "git_commit": environment.git_commit,
        "code": training.job.code,
        "evaluate_code": evaluation.job.code if evaluation else None,
        "accepted": "; ".join(dict.fromkeys(accepted)),
    }
