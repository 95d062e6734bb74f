"""The user's word that a change of code changes no result."""

import getpass
from pathlib import Path

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.planning.job import Node
from clce_bench.planning.reruns import Reruns
from clce_bench.planning.stages import STAGE_ORDER
from clce_bench.records.environment import now
from clce_bench.records.job_records import record_path
from clce_bench.records.record_models import Acceptance


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
        record = reruns.record(node)
        codes = {change.name: {"old": change.then, "new": change.now} for change in reruns.changes[node]}
        entry = Acceptance.model_validate({"who": _user(), "when": now(), "reason": reason, "codes": codes})
        declared = record.model_copy(update={"accepted": [*record.accepted, entry]})
        declared.write(record_path(Path(reruns.plan.job(node).output)))
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
    waiting, found = reruns.plan.nodes_of(cell), dict[Node, None]()
    while waiting:
        node = waiting.pop()
        found[node] = None
        waiting += reruns.plan.needs(node)
    return sorted(found, key=lambda node: STAGE_ORDER.index(node.verb))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
