"""The progress of a run, read from the files that it writes: here or on a cluster."""

import shutil
import subprocess
from typing import Any, NamedTuple

from rich.console import Group

from clce_bench.costs.throughput import seconds_to_redo
from clce_bench.experiment.cells import Cell
from clce_bench.machine import memory_in_use
from clce_bench.planning.cell_status import states_of
from clce_bench.planning.progress_journal import journal_of
from clce_bench.planning.reruns import Reruns
from clce_bench.report.terminal import TextTable


class Standing(NamedTuple):
    """The progress of an experiment.

    Attributes:
        experiment: its name.
        cells: how many have which status; ``running`` and ``waiting`` are those that are not finished.
        running: name, last line of the journal and last validation accuracy of each cell that trains.
        failed: reason by cell.
        seconds_left: of all that is not finished, from what cells of its kind took; ``None`` if nothing is known.
        gpu: use and memory of each GPU.
        memory: share of this machine's memory that is taken, in [0, 1].
    """

    experiment: str
    cells: dict[str, int]
    running: list[dict[str, Any]]
    failed: dict[str, str]
    seconds_left: float | None
    gpu: list[str]
    memory: float


def standing_of(reruns: Reruns) -> Standing:
    """Looks at the files of all cells.

    Args:
        reruns: of the experiment.
    """
    cells, states, costs = reruns.plan.cells, states_of(reruns), seconds_to_redo(reruns)
    open_cells = [cell for cell in cells if states[cell.name].status not in ("done", "diverged")]
    running = [line for cell in open_cells if (line := last_line(cell))]
    names = {line["cell"] for line in running}
    waiting = [cell for cell in open_cells if cell.name not in names and states[cell.name].status != "failed"]
    failed = {cell.name: states[cell.name].reason for cell in open_cells if states[cell.name].status == "failed"}
    counts = {status: sum(state.status == status for state in states.values()) for status in ("done", "diverged")}
    counts |= {"running": len(running), "waiting": len(waiting), "failed": len(failed)}
    known = [seconds for cell in waiting if (seconds := costs.get(cell.name)) is not None]
    left: float | None = sum(known) + sum(line["seconds_left"] for line in running)
    if waiting and not known:
        left = None  # Nothing of the kind was ever measured.
    elif left is not None:
        left /= max(len(running), 1)
    return Standing(reruns.plan.experiment.name, counts, running, failed, left, _gpus(), memory_in_use())


def last_line(cell: Cell) -> dict[str, Any] | None:
    """Reads what a cell that trains said last; ``None`` if it is silent.

    Args:
        cell: any.
    """
    lines = journal_of(cell)
    if not lines:
        return None
    epochs: dict[str, Any] = next((line for line in reversed(lines) if "epoch" in line), {})
    shown = {key: epochs.get(key) for key in ("epoch", "epochs", "validation")}
    return {"cell": cell.name, **lines[-1], **shown}


def screen(standing: Standing) -> Group:
    """Lays a standing out for people."""
    left = "unknown" if standing.seconds_left is None else _duration(standing.seconds_left)
    counts = ", ".join(f"{count} {status}" for status, count in standing.cells.items() if count)
    head = f"{standing.experiment}: {counts}; about {left} left"
    machine = ", ".join([f"memory {standing.memory:.0%}", *standing.gpu])
    rows = []
    for line in standing.running:
        epoch = f"{line['epoch']}/{line['epochs']}" if line["epoch"] else "–"
        accuracy = "–" if line["validation"] is None else f"{line['validation']:.1%}"
        step = f"{line['step']}/{line['steps']}"
        rows.append((line["cell"], epoch, step, f"{line['loss']:.4f}", accuracy, _duration(line["seconds_left"])))
    columns = ("cell", "epoch", "step", "loss", "validation", "left")
    table = TextTable(columns, rows, spare=("step", "loss", "epoch", "validation"))
    failures = [f"failed: {name}: {reason}" for name, reason in standing.failed.items()]
    return Group(head, *([table] if rows else []), *failures, machine)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(seconds) % 60:02} s"


def _gpus() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used,memory.total", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return [f"GPU {line}" for line in said.splitlines() if line.strip()]
