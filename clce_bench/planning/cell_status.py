"""What each cell of an experiment is, and why, in words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from clce_bench.experiment.cells import Cell
from clce_bench.files import digest
from clce_bench.planning.changes import Change, spec_changes
from clce_bench.planning.job import Job
from clce_bench.planning.plan import Plan
from clce_bench.planning.reruns import Reruns
from clce_bench.records.environment import package_versions
from clce_bench.records.fingerprints import outlines
from clce_bench.records.job_records import read_outlines, read_record
from clce_bench.records.record_models import UNREADABLE, CellRecord, EvaluationRecord, JobRecord

FEW = 3
"""How many differences a reason names."""


class State(NamedTuple):
    """What is known of a cell.

    Attributes:
        status: ``done``, ``diverged``, ``failed``, ``stale`` or ``missing``.
        reason: in words; empty for a cell that is simply done.
        note: of a cell that is done, packages of which there was another version then.
        accepted: of a cell that is done, why the user declared that a change of code does not matter.
    """

    status: str
    reason: str = ""
    note: str = ""
    accepted: str = ""


def states_of(reruns: Reruns) -> dict[str, State]:
    """Says what each cell is, by its name."""
    siblings = Siblings(reruns.plan)
    return {cell.name: _state(reruns, cell, siblings) for cell in reruns.plan.cells}


def training_of(cell: Cell) -> dict[str, Any] | None:
    """Reads a cell's ``cell.json``; ``None`` where there is none, or a damaged one, whose cell is trained again."""
    record = read_record(cell.directory / "cell.json")
    return record.model_dump() if isinstance(record, CellRecord) else None


def evaluation_of(cell: Cell) -> dict[str, Any] | None:
    """Reads a cell's ``metrics.json``; ``None`` unless it measured the files that the cell has now."""
    training = read_record(cell.directory / "cell.json")
    evaluation = evaluation_after(training, cell) if isinstance(training, CellRecord) else None
    return evaluation.model_dump() if evaluation else None


def evaluation_after(training: CellRecord, cell: Cell) -> EvaluationRecord | None:
    """Reads a cell's ``metrics.json``; ``None`` unless it measured the files that this training wrote."""
    evaluation = read_record(cell.directory / "metrics.json")
    if not isinstance(evaluation, EvaluationRecord) or evaluation.cell_sha256 != training.outputs_sha256:
        return None
    return evaluation


def _state(reruns: Reruns, cell: Cell, siblings: "Siblings") -> State:
    own = reruns.plan.nodes_of(cell)
    train, *evaluations = own
    if train not in reruns.evidence:
        failure = cell.directory / "failure.txt"
        if failure.exists():
            return State("failed", failure.read_text().strip())
        near = siblings.nearest(cell)
        return State("missing", f"never run; like {near[0].name} but {_listing(near[1])}" if near else "never run")
    record = reruns.record(train)
    diverged = isinstance(record, CellRecord) and record.status == "diverged"
    for node in [train] if diverged else own:
        changes = reruns.changes.get(node)
        if node in evaluations and (changes is None or [change[:2] for change in changes] == [("data", "cell")]):
            return State("missing", "trained, not evaluated yet" if node.verb == "evaluate" else "not measured yet")
        if changes:
            return State("stale", _listing(sentences(changes, reruns.plan.job(node), reruns.record(node))))
        if node in reruns.runs:
            return State("stale", reruns.runs[node])
    assert isinstance(record, CellRecord)  # What is no record differs from every job, and was called stale above.
    accepted = dict.fromkeys(entry.reason for node in own for entry in reruns.record(node).accepted)
    return State(record.status, record.reason or "", "; ".join(version_changes(record)), "; ".join(accepted))


def version_changes(record: JobRecord) -> list[str]:
    """Lists the packages that were of another version when a cell was trained; they alone make nothing stale."""
    then = record.environment.packages if isinstance(record, CellRecord) else {}
    now = {name: version for name, version in package_versions().items() if name != "clce_bench"}
    return [f"{name} {then[name]} then, {now[name]} now" for name in now if then.get(name, now[name]) != now[name]]


def sentences(changes: list[Change], job: Job, record: JobRecord) -> list[str]:
    """Puts differences in words.

    Args:
        changes: between the record and the job.
        job: as it is now.
        record: as it was run.
    """
    since = (record.started or "an unknown time")[:16].replace("T", " ")
    found = []
    for change in changes:
        if change.kind == "code":
            found += code_sentences(change, job, record, since)
        elif change.kind == "data":
            found.append(f"data changed: {change.name}")
        elif change.kind == "damage":
            found.append(f"{change.name} is not what was written, or gone")
        else:
            found.append(f"{change.name} {_value(change.then)} → {_value(change.now)}")
    return found


def code_sentences(change: Change, job: Job, record: JobRecord, since: str) -> list[str]:
    """Says which modules, and in them which functions, are not what they were."""
    if change.name != job.verb:
        return [f"the code of {change.name} changed since {since}"]
    modules = changed_modules(change, job, record)
    if modules is None:
        return [f"the code of {change.name} changed since {since}"]
    return [
        f"{_file(module)} changed since {since}" + (f": {', '.join(names)}" if names else "")
        for module, names in modules.items()
    ]


def changed_modules(change: Change, job: Job, record: JobRecord) -> dict[str, list[str]] | None:
    """Compares the code of a stage with what a record says of it.

    Returns:
        By module, the functions and classes that came, went or changed; no names where only the module is known;
        ``None`` where not even that is.
    """
    now = outlines(job.verb, *job.components)
    then = read_outlines(job.verb, str(change.then))
    if then:
        return {
            module: _names(then.get(module), now.get(module))
            for module in sorted(then.keys() | now.keys())
            if then.get(module) != now.get(module)
        }
    if not record.modules:
        return None
    before, after = record.modules, {module: digest(outline) for module, outline in now.items()}
    return {module: [] for module in sorted(before.keys() | after.keys()) if before.get(module) != after.get(module)}


def _names(then: dict[str, str] | None, now: dict[str, str] | None) -> list[str]:
    if then is None or now is None:
        return ["is new" if then is None else "is no longer used"]
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _file(module: str) -> str:
    return module.removeprefix("clce_bench.").replace(".", "/") + ".py"


def _listing(found: list[str]) -> str:
    return "; ".join(found[:FEW]) + (f"; and {len(found) - FEW} more" if len(found) > FEW else "")


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


class Siblings:
    """Cells on disk with the axes of a missing one and other settings.

    Args:
        plan: the experiment, whose own cells are none.
    """

    def __init__(self, plan: Plan) -> None:
        self._own = {cell.directory for cell in plan.cells}
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def nearest(self, cell: Cell) -> tuple[Path, list[str]] | None:
        """Finds the one that differs in the fewest keys, and says in which."""
        found = []
        for directory in self._below(cell.directory.parent).get(_axes(cell.directory), []):
            record = read_record(directory / "cell.json")
            changes = spec_changes((record or UNREADABLE).job.spec, cell.spec)
            if record and changes:
                words = [f"{change.name} {_value(change.then)} → {_value(change.now)}" for change in changes]
                found.append((directory, words))
        return min(found, key=lambda pair: (len(pair[1]), pair[0].name), default=None)

    def _below(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listed:
            groups: dict[str, list[Path]] = {}
            for directory in self._others(folder):
                groups.setdefault(_axes(directory), []).append(directory)
            self._listed[folder] = groups
        return self._listed[folder]

    def _others(self, folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path not in self._own and not path.name.startswith("."):
                yield path


def _axes(directory: Path) -> str:
    return directory.name.rpartition("-")[0]
