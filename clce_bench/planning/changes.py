"""In what a job differs from the record that it left."""

from typing import Any, NamedTuple

from clce_bench.files import canonical_json, unordered
from clce_bench.planning.plan import Job


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


def code_changes(job: Job, record: dict[str, Any]) -> list[Change]:
    """Lists the stages whose code is another than recorded, unless the user has accepted that."""
    then = record.get("job", {})
    before = {**then.get("upstream", {}), job.verb: then.get("code")}
    accepted = {(verb, codes["new"]) for entry in record.get("accepted", []) for verb, codes in entry["codes"].items()}
    return [
        Change("code" if verb != "images" else "data", verb, before.get(verb), now)
        for verb, now in {job.verb: job.code, **job.upstream}.items()
        if before.get(verb) != now and (verb, now) not in accepted
    ]
