"""What the next run does: which jobs are out of date, by their records alone, and what follows from that.

Snakemake is told the outcome. Its own judgement rests on modification times and on notes in ``.snakemake``, which
copies, checkouts and restored backups do not keep.
"""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from clce_bench.experiment.cells import Cell
from clce_bench.files import digest, sha256_of, write_json, write_text
from clce_bench.planning.changes import Change, code_changes, spec_changes
from clce_bench.planning.plan import RESULTS, Job, Plan, cell_key
from clce_bench.records.job_records import changed_files, damaged, read_record, record_path

UPSTREAM_STAGES = ("dataset", "backbone", "splits", "episodes", "features")
"""Stages whose results are only wanted by others: they run when something that runs needs them."""
STAGE_ORDER = (*UPSTREAM_STAGES, "train", "tune", "evaluate", "summarize", "figures", "report", "track")

DUE = RESULTS / ".due"
"""An input of every job that is to run, newer than any result."""


class Node(NamedTuple):
    """A job's place in the plan."""

    verb: str
    key: str


@dataclass
class Reruns:
    """Which jobs of a plan are to run.

    Attributes:
        plan: all jobs.
        changes: by job with a record, in what it differs from that; jobs that are as recorded have an empty list.
        runs: the jobs to run, with the reason in a few words.
    """

    plan: Plan
    changes: dict[Node, list[Change]] = field(default_factory=dict)
    runs: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads all records and draws the consequences."""
        for verb in STAGE_ORDER:
            for key, job in self.plan.jobs[verb].items():
                record = self.records[Node(verb, key)]
                if record is not None:
                    self.changes[Node(verb, key)] = self._differences(Node(verb, key), job, record)
        for node in self.nodes:
            found = self.changes.get(node)
            if found is None and node.verb not in UPSTREAM_STAGES:
                self._redo(node, "there is no result yet")
            elif found and node.verb in UPSTREAM_STAGES and all(change.kind == "damage" for change in found):
                self._repair(node, f"{found[0].name} is damaged or gone")
            elif found:
                self._redo(node, ", ".join(dict.fromkeys(f"{change.kind} changed" for change in found)))

    @cached_property
    def nodes(self) -> list[Node]:
        """All jobs, those first that others depend on."""
        return [Node(verb, key) for verb in STAGE_ORDER for key in self.plan.jobs[verb]]

    @cached_property
    def records(self) -> dict[Node, dict[str, Any] | None]:
        """What each job left behind; ``None`` if it, or the file that it vouches for, is not there."""
        found = {}
        for node in self.nodes:
            output = Path(self.job(node).output)
            path = record_path(output)
            found[node] = read_record(path) if path == output or output.exists() else None
        return found

    @cached_property
    def makers(self) -> dict[str, Node]:
        """By path, the job that makes it."""
        made = {self.job(node).output: node for node in self.nodes}
        embeddings = {str(Path(path).with_name("embeddings.npz")): node for path, node in made.items()}
        return {path: node for path, node in embeddings.items() if node.verb == "train"} | made

    @cached_property
    def dependents(self) -> dict[Node, list[Node]]:
        """By job, those that read what it makes."""
        found: dict[Node, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for needed in self.needs(node):
                found[needed].append(node)
        return found

    def job(self, node: Node) -> Job:
        """Returns the job at a place."""
        return self.plan.jobs[node.verb][node.key]

    def of_cell(self, cell: Cell) -> list[Node]:
        """Lists a cell's own jobs: its training and, unless it is only a trial, its evaluation."""
        key = cell_key(cell)
        return [Node(verb, key) for verb in ("train", "evaluate") if key in self.plan.jobs[verb]]

    def needs(self, node: Node) -> list[Node]:
        """Lists the jobs whose results a job reads."""
        if node.verb == "summarize":
            return [Node(verb, key) for verb in ("tune", "evaluate") for key in self.plan.jobs[verb]]
        return [self.makers[path] for path in self.job(node).inputs.values() if path in self.makers]

    def inputs(self, node: Node) -> dict[str, tuple[str, bool]]:
        """Lists for Snakemake what a job reads.

        Returns:
            By name, the path and whether its age is to be ignored. A job that is not to run needs no input that is
            gone, and one of a copy whose times say nothing is not judged by them.
        """
        wanted = dict(self.job(node).inputs)
        if node.verb == "summarize":
            wanted = {f"cell_{number}": self.job(maker).output for number, maker in enumerate(self.needs(node))}
        if node in self.runs:
            return {name: (path, False) for name, path in {**wanted, "due": str(DUE)}.items()}
        oldest = self._oldest(node)
        times = {name: (path, _time(path)) for name, path in wanted.items()}
        # What is only made again as it was does not make its readers run.
        return {
            name: (path, time > oldest or self.makers.get(path) in self.runs)
            for name, (path, time) in times.items()
            if time
        }

    def announce(self) -> None:
        """Makes :data:`DUE` newer than all results of jobs that are to run, and new in content."""
        write_text(DUE, os.urandom(8).hex())
        newest = max((self._newest(node) for node in self.runs), default=0)
        if newest >= DUE.stat().st_mtime_ns:  # Written by a machine whose clock is ahead.
            os.utime(DUE, ns=(newest + 10**9, newest + 10**9))

    def _files(self, node: Node) -> list[int]:
        output = Path(self.job(node).output)
        names = {output.name, *(self.records[node] or {}).get("outputs_sha256", {})}
        # Snakemake judges a folder by a file that it puts there.
        folders = {str(Path(name).parent) for name in names if "/" in name}
        names |= folders | {f"{name}/.snakemake_timestamp" for name in folders}
        return [time for name in names if (time := _time(output.parent / name))]

    def _oldest(self, node: Node) -> int:
        return min(self._files(node), default=0)

    def _newest(self, node: Node) -> int:
        return max(self._files(node), default=0)

    def _redo(self, node: Node, reason: str) -> None:
        """Has a job run, and all that read its result."""
        if node in self.runs:
            return
        self.runs[node] = reason
        self._require(node)
        for dependent in self.dependents[node]:
            if dependent.verb not in UPSTREAM_STAGES or dependent in self.changes:
                self._redo(dependent, f"after {node.verb} {node.key}")

    def _repair(self, node: Node, reason: str) -> None:
        """Has a job run that makes again what it made before, so that its readers may stay as they are."""
        if node not in self.runs:
            self.runs[node] = reason
            self._require(node)

    def _require(self, node: Node) -> None:
        for needed in self.needs(node):
            if needed.verb in UPSTREAM_STAGES and self.changes.get(needed) is None:
                self._repair(needed, f"needed by {node.verb} {node.key}")
            elif needed.verb == "train" and self._lost_embeddings(needed):
                self._redo(needed, "its embeddings.npz is gone")

    def _lost_embeddings(self, node: Node) -> bool:
        done = (self.records[node] or {}).get("status") == "done"
        return done and not Path(self.job(node).output).with_name("embeddings.npz").exists()

    def _differences(self, node: Node, job: Job, record: dict[str, Any]) -> list[Change]:
        """Compares a job with its record."""
        then = record.get("job", {})
        found = code_changes(job, record)
        found += spec_changes(then.get("spec", {}), job.spec, exact=node.verb == "train")
        before = then.get("inputs", {})
        found += [
            Change("inputs", name, before.get(name), job.inputs.get(name))
            for name in sorted(before.keys() | job.inputs.keys())
            if before.get(name) != job.inputs.get(name)
        ]
        return found + self._data_changes(node, job, record)

    def _data_changes(self, node: Node, job: Job, record: dict[str, Any]) -> list[Change]:
        recorded = record.get("inputs_sha256", {})
        found = []
        for name, path in job.inputs.items():
            maker = self.makers.get(path)
            # Features follow from the other inputs and the code: made anew elsewhere, their last bits may be others.
            if maker is None or maker.verb == "features" or self.records[maker] is None:
                continue
            now = _content(self.records[maker] or {}, Path(path))
            if now and recorded.get(name) != now:
                found.append(Change("data", name, recorded.get(name), now))
        if node.verb == "summarize" and recorded.get("cells") != (now := cells_checksum(self.plan)):
            found.append(Change("data", "cells", recorded.get("cells"), now))
        if node.verb in ("train", "evaluate") or not record:
            return found
        place = record_path(Path(job.output))
        external = {name: source for name, source in job.inputs.items() if source not in self.makers}
        others, noted = changed_files(record, external)
        found += [Change("data", name, recorded.get(name), "another") for name in others]
        broken, also_noted = damaged(record, place.parent)
        if (noted or also_noted) and os.access(place, os.W_OK):
            write_json(place, record)
        return found + ([Change("damage", broken, "as written", "another or gone")] if broken else [])


def cells_checksum(plan: Plan) -> str:
    """Returns a checksum of what all cells of an experiment say of themselves."""
    paths = [Path(job.output) for verb in ("train", "evaluate") for job in plan.jobs[verb].values()]
    return digest({str(path): sha256_of(path) for path in paths if path.exists()}, length=64)


def _content(record: dict[str, Any], path: Path) -> str:
    outputs = record.get("outputs_sha256", {})
    return digest(outputs, length=64) if path.name == "cell.json" else outputs.get(path.name, "")


def _time(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
