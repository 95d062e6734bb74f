"""The whole difference between what was run and what would be run now."""

from collections.abc import Iterator
from typing import Any

from clce_bench.experiment.cells import Cell
from clce_bench.planning.acceptance import stages_of
from clce_bench.planning.cell_status import Siblings, changed_modules, states_of, version_changes
from clce_bench.planning.job import Node
from clce_bench.planning.reruns import Reruns


def explain(reruns: Reruns, cell: Cell) -> dict[str, Any]:
    """Collects everything that is known of a cell's status.

    Returns:
        ``cell``, ``directory``, ``status``, ``reason``, ``note``, ``accepted``; ``changes``, a list with ``stage``,
        ``kind``, ``name``, ``then``, ``now`` and for code ``modules``; ``versions`` in words; ``declared``, what was
        accepted, by stage; ``runs``, by job why it will run; ``nearest``, for a missing cell the one on disk that is
        most like it.
    """
    nodes = stages_of(reruns, cell)
    near = Siblings(reruns.plan).nearest(cell)
    return {
        "cell": cell.name,
        "directory": str(cell.directory),
        **states_of(reruns)[cell.name]._asdict(),
        "changes": [change for node in nodes for change in _changes(reruns, node)],
        "versions": version_changes(reruns.record(Node("train", cell.key))),
        "declared": [
            {"stage": node.verb, **entry.model_dump()} for node in nodes for entry in reruns.record(node).accepted
        ],
        "runs": {f"{node.verb} {node.key}": reruns.runs[node] for node in nodes if node in reruns.runs},
        "nearest": {"cell": near[0].name, "differences": near[1]} if near else None,
    }


def _changes(reruns: Reruns, node: Node) -> Iterator[dict[str, Any]]:
    for change in reruns.changes.get(node, []):
        found = {"stage": node.verb, **change._asdict()}
        if change.kind == "code" and change.name == node.verb:
            found["modules"] = changed_modules(change, reruns.plan.job(node), reruns.record(node))
        yield found


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes an explanation for people."""
    yield f"{found['directory']}: {found['status']}" + (f": {found['reason']}" if found["reason"] else "")
    for change in found["changes"]:
        yield f"  {change['stage']}: {change['kind']} {change['name']}: {change['then']} → {change['now']}"
        for module, names in (change.get("modules") or {}).items():
            yield f"    {module}: {', '.join(names) or 'which functions is not known'}"
    for entry in found["declared"]:
        yield f"  {entry['stage']}: accepted by {entry['who']} on {entry['when'][:16]}: {entry['reason']}"
    for text in found["versions"]:
        yield f"  {text}"
    if found["status"] == "missing" and found["nearest"]:
        yield f"  most like it on disk: {found['nearest']['cell']}: {', '.join(found['nearest']['differences'])}"
    for job, reason in found["runs"].items():
        yield f"  will run: {job}: {reason}"
