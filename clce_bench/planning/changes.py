"""In what jobs differ from the records that they left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clce_bench.files import canonical_json, digest, unordered
from clce_bench.planning.evidence import Evidence
from clce_bench.planning.job import IMAGES, Job, Node
from clce_bench.planning.plan import Plan
from clce_bench.planning.stages import COMPUTED_STAGES
from clce_bench.records.record_models import UNREADABLE, JobRecord


class Change(NamedTuple):
    """One difference between a job as it was run and as it is now.

    Attributes:
        kind: ``spec``, ``inputs`` (paths), ``code``, ``data`` (content) or ``damage``.
        name: key of the specification, name of the input, stage whose code it is, file.
        then: what the record says.
        now: what the plan says.
    """

    kind: str
    name: str
    then: Any
    now: Any


def differences(plan: Plan, evidence: Mapping[Node, Evidence]) -> dict[Node, list[Change]]:
    """Compares each job with its record.

    Args:
        plan: all jobs.
        evidence: what they have left.

    Returns:
        By job with a record, in what it differs from that; jobs that are as recorded have an empty list.
    """
    return {
        node: [*job_changes(plan.job(node), found.record), *_data_changes(plan, node, evidence)]
        for node, found in evidence.items()
    }


def job_changes(job: Job, record: JobRecord) -> Iterator[Change]:
    """Compares what is asked for: code, specification, paths of inputs."""
    yield from code_changes(job, record)
    yield from spec_changes(record.job.spec, job.spec, exact=job.verb == "train")
    for name in sorted(record.job.inputs.keys() | job.inputs.keys()):
        then, now = record.job.inputs.get(name), job.inputs.get(name)
        if then != now:
            yield Change("inputs", name, then, now)


def spec_changes(then: Any, now: Any, exact: bool = True, prefix: str = "") -> list[Change]:
    """Lists the keys in which two specifications differ, with dots.

    Args:
        then: one.
        now: the other.
        exact: whether the order of lists counts.
        prefix: of the keys.
    """
    if then == now:
        return []
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(then.keys() | now.keys())
        return [
            change
            for key in keys
            for change in spec_changes(then.get(key), now.get(key), exact, f"{prefix}.{key}" if prefix else key)
        ]
    same = canonical_json if exact else lambda value: canonical_json(unordered(value))
    return [] if same(then) == same(now) else [Change("spec", prefix, then, now)]


def code_changes(job: Job, record: JobRecord) -> Iterator[Change]:
    """Lists the stages whose code is another than recorded, unless the user has accepted that."""
    before = {**record.job.upstream, job.verb: record.job.code or None}
    accepted = {(verb, codes["new"]) for entry in record.accepted for verb, codes in entry.codes.items()}
    for verb, now in {job.verb: job.code, **job.upstream}.items():
        if before.get(verb) != now and (verb, now) not in accepted:
            yield Change("code", verb, before.get(verb), now)
    if job.images and before.get(IMAGES) != job.images:
        yield Change("data", IMAGES, before.get(IMAGES), job.images)


def _data_changes(plan: Plan, node: Node, evidence: Mapping[Node, Evidence]) -> Iterator[Change]:
    """Compares contents. What was computed follows from inputs and code: elsewhere its last bits may differ."""
    own = evidence[node]
    recorded = own.record.inputs_sha256
    for name, path in plan.job(node).inputs.items():
        maker = plan.makers.get(path)
        if maker and maker in evidence and maker.verb not in COMPUTED_STAGES:
            now = content(evidence[maker].record, Path(path).name)
            if now and recorded.get(name) != now:
                yield Change("data", name, recorded.get(name), now)
    if own.cells and recorded.get("cells") != own.cells:
        yield Change("data", "cells", recorded.get("cells"), own.cells)
    for name in own.changed:
        yield Change("data", name, recorded.get(name), "another")
    if own.damaged:
        yield Change("damage", own.damaged, "as written", "another or gone")


def content(record: JobRecord, file: str) -> str:
    """Returns the checksum that stands for a file of a job: for a cell's record, that of all its outputs."""
    if record is UNREADABLE or file != "cell.json":
        return record.outputs_sha256.get(file, "")
    return digest(record.outputs_sha256, length=64)
