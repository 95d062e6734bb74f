"""What is on disk of each job: its record, and whether that still fits the files. All reading is done here."""

import os
from dataclasses import dataclass
from pathlib import Path

from clce_bench.files import digest, sha256_of
from clce_bench.planning.job import Node
from clce_bench.planning.plan import Plan
from clce_bench.records.job_records import other_files, read_record, record_path
from clce_bench.records.record_models import UNREADABLE, CellRecord, JobRecord


@dataclass(frozen=True)
class Evidence:
    """What a job has left.

    Attributes:
        record: what it says of itself.
        changed: inputs, files of the user's, that have another content now.
        damaged: a file that is not what the job wrote, or gone; empty if there is none.
        embeddings_lost: whether a trained cell cannot be evaluated any more.
        cells: of the tables, a checksum of what all cells say now.
    """

    record: JobRecord
    changed: tuple[str, ...] = ()
    damaged: str = ""
    embeddings_lost: bool = False
    cells: str = ""


def read(plan: Plan) -> dict[Node, Evidence]:
    """Reads what the jobs of a plan have left; those without a record, or without its result, are left out."""
    found = {}
    for node in plan.nodes:
        output = Path(plan.job(node).output)
        place = record_path(output)
        if record := read_record(place) if place == output or output.exists() else None:
            found[node] = _evidence(plan, node, record, place)
    return found


def _evidence(plan: Plan, node: Node, record: JobRecord, place: Path) -> Evidence:
    if node.verb == "train":
        done = isinstance(record, CellRecord) and record.status == "done"
        return Evidence(record, embeddings_lost=done and not place.with_name("embeddings.npz").exists())
    if node.verb == "evaluate" or record is UNREADABLE:
        gone = (name for name in record.outputs_sha256 if not place.with_name(name).exists())
        return Evidence(record, damaged=next(gone, ""))
    seen = dict(record.seen)
    own = {name: path for name, path in plan.job(node).inputs.items() if path not in plan.makers}
    read_then = {path: record.inputs_sha256.get(name) for name, path in own.items()}
    changed = set(other_files(read_then, {path: Path(path) for path in read_then}, seen))
    written = {name: place.parent / name for name in record.outputs_sha256}
    damaged = next(other_files(record.outputs_sha256, written, seen), "")
    if seen != record.seen:
        record = record.model_copy(update={"seen": seen})
        if os.access(place, os.W_OK):
            record.write(place)
    cells = cells_checksum(plan) if node.verb == "summarize" else ""
    return Evidence(record, tuple(name for name, path in own.items() if path in changed), damaged, cells=cells)


def cells_checksum(plan: Plan) -> str:
    """Returns a checksum of what all cells of an experiment say of themselves."""
    paths = [Path(job.output) for verb in ("train", "evaluate", "measure") for job in plan.jobs[verb].values()]
    return digest({str(path): sha256_of(path) for path in paths if path.exists()}, length=64)
