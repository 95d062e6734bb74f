"""What the next run does: which jobs are out of date, by their records alone, and what follows from that.

Snakemake is told the outcome. Its own judgement rests on modification times and on notes in ``.snakemake``, which
copies, checkouts and restored backups do not keep.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from clce_bench.planning.changes import Change, differences
from clce_bench.planning.evidence import Evidence, read
from clce_bench.planning.job import Node
from clce_bench.planning.plan import Plan
from clce_bench.planning.rounds_record import schedule_of
from clce_bench.planning.stages import UPSTREAM_STAGES
from clce_bench.records.record_models import UNREADABLE, JobRecord


@dataclass(frozen=True)
class Reruns:
    """Which jobs of a plan are to run.

    Attributes:
        plan: all jobs.
        evidence: by job with a record, what is on disk of it.
        changes: by job with a record, in what it differs from that; jobs that are as recorded have an empty list.
        runs: the jobs to run, with the reason in a few words.
    """

    plan: Plan
    evidence: dict[Node, Evidence]
    changes: dict[Node, list[Change]]
    runs: dict[Node, str]

    def record(self, node: Node) -> JobRecord:
        """Returns what a job says of itself; an empty record if it says nothing."""
        return self.evidence[node].record if node in self.evidence else UNREADABLE


def reruns_of(plan: Plan) -> Reruns:
    """Reads all records and draws the consequences."""
    evidence = read(plan)
    changes = differences(plan, evidence)
    lost = {node for node, found in evidence.items() if found.embeddings_lost}
    return Reruns(plan, evidence, changes, propagate(plan, changes, lost))


def is_up_to_date(plan: Plan) -> bool:
    """Says whether a run would find nothing to do; with seeds in rounds, only a run itself can tell."""
    return not plan.deciding and schedule_of(plan.experiment) is None and not reruns_of(plan).runs


class _Cause(NamedTuple):
    """A job to run, the reason, and whether those that read its result are to run too."""

    node: Node
    reason: str
    spreads: bool


def propagate(
    plan: Plan, changes: Mapping[Node, list[Change]], lost: AbstractSet[Node] = frozenset()
) -> dict[Node, str]:
    """Says which jobs are to run.

    A job that is out of date runs, and all that read its result. An intermediate result that is missing is made if
    something that runs needs it, one that is damaged in any case; neither makes its readers run, for it will be what it
    was.

    Args:
        plan: all jobs.
        changes: by job with a record, in what it differs from that.
        lost: trained cells whose embeddings are gone, which only evaluation needs.

    Returns:
        By job, the reason in a few words.
    """
    runs: dict[Node, str] = {}
    for node in plan.nodes:
        waiting = list(_own_causes(node, changes.get(node)))
        while waiting:
            node, reason, spreads = waiting.pop()
            if node not in runs:
                runs[node] = reason
                following = [*_needed(plan, node, changes, lost), *(_after(plan, node, changes) if spreads else ())]
                waiting += reversed(following)
    return runs


def _own_causes(node: Node, found: list[Change] | None) -> Iterator[_Cause]:
    if found is None and node.verb not in UPSTREAM_STAGES:
        yield _Cause(node, "there is no result yet", spreads=True)
    elif found and all(change.kind == "damage" for change in found):
        yield _Cause(node, f"{found[0].name} is damaged or gone", spreads=node.verb not in UPSTREAM_STAGES)
    elif found:
        reason = ", ".join(dict.fromkeys(f"{change.kind} changed" for change in found))
        yield _Cause(node, reason, spreads=True)


def _needed(plan: Plan, node: Node, changes: Mapping[Node, list[Change]], lost: AbstractSet[Node]) -> Iterator[_Cause]:
    for needed in plan.needs(node):
        if needed.verb in UPSTREAM_STAGES and needed not in changes:
            yield _Cause(needed, f"needed by {node.verb} {node.key}", spreads=False)
        elif needed in lost:
            yield _Cause(needed, "its embeddings.npz is gone", spreads=True)


def _after(plan: Plan, node: Node, changes: Mapping[Node, list[Change]]) -> Iterator[_Cause]:
    for reader in plan.readers.get(node, ()):
        if reader.verb not in UPSTREAM_STAGES or reader in changes:
            yield _Cause(reader, f"after {node.verb} {node.key}", spreads=True)
