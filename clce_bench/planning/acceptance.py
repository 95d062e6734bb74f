"""The user's word that a change of code changes no result."""

import getpass
from pathlib import Path
from typing import Any

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.files import write_json
from clce_bench.planning.reruns import STAGE_ORDER, Node, Reruns
from clce_bench.records.environment import now
from clce_bench.records.job_records import record_path


def accept(reruns: Reruns, cells: list[Cell], reason: str) -> list[str]:
    """Writes into the records of cells, and of what they are made from, that their code counts as the present one.

    Args:
        reruns: what is out of date, and in what.
        cells: whose.
        reason: why the change alters nothing.

    Returns:
        The stages and keys whose records were changed.

    Raises:
        UserError: something else than code has changed, or there is nothing to accept; nothing is written then.
    """
    chosen: dict[Node, None] = {}
    for cell in cells:
        nodes = stages_of(reruns, cell)
        changed = [node for node in nodes if reruns.changes.get(node)]
        if not changed:
            raise UserError(f"{cell.name}: there is nothing to accept: no recorded code differs from the present one.")
        if others := _others(reruns, changed):
            raise UserError(f"{cell.name}: cannot be accepted: not only code differs: {', '.join(others)}.")
        chosen |= dict.fromkeys(changed)
    for node in chosen:
        record = reruns.records[node] or {}
        codes = {change.name: {"old": change.then, "new": change.now} for change in reruns.changes[node]}
        entry: dict[str, Any] = {"who": _user(), "when": now(), "reason": reason, "codes": codes}
        record["accepted"] = [*record.get("accepted", []), entry]
        write_json(record_path(Path(reruns.job(node).output)), record)
    return [f"{node.verb} {node.key}" for node in chosen]


def only_code(reruns: Reruns, cell: Cell) -> bool:
    """Whether a cell is out of date by its code alone."""
    changed = [node for node in stages_of(reruns, cell) if reruns.changes.get(node)]
    return bool(changed) and not _others(reruns, changed)


def _others(reruns: Reruns, nodes: list[Node]) -> list[str]:
    return [
        f"{node.verb}: {change.kind} {change.name}"
        for node in nodes
        for change in reruns.changes[node]
        if change.kind != "code"
    ]


def stages_of(reruns: Reruns, cell: Cell) -> list[Node]:
    """Lists a cell's jobs and those that they need, in the order in which they run."""
    waiting, found = reruns.of_cell(cell), dict[Node, None]()
    while waiting:
        node = waiting.pop()
        found[node] = None
        waiting += reruns.needs(node)
    return sorted(found, key=lambda node: STAGE_ORDER.index(node.verb))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
