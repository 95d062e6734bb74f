"""What each job reads, as Snakemake is to see it: it judges by times alone, so times must say the right thing."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from clce_bench.files import write_text
from clce_bench.planning.job import RESULTS, Node
from clce_bench.planning.plan import Plan
from clce_bench.planning.reruns import Reruns, reruns_of

DUE = RESULTS / ".due"
"""An input of every job that is to run, newer than any result."""


def begin(plan: Plan) -> Reruns:
    """Settles what is to run, and leaves on disk what Snakemake and later questions need to know of it."""
    plan.prepare()
    reruns = reruns_of(plan)
    announce(reruns)
    return reruns


def announce(reruns: Reruns) -> None:
    """Makes :data:`DUE` newer than all results of jobs that are to run, and new in content.

    Results from the future, of a machine whose clock was ahead, are put back: with a :data:`DUE` newer than them, what
    is made now would count as older than its input.
    """
    before = time.time_ns() - 10**9
    for path in (path for node in reruns.runs for path in _files(reruns, node)):
        if _time(path) > before:
            with suppress(OSError):  # Somebody else's file, which the job then replaces or fails to.
                os.utime(path, ns=(before, before))
    write_text(DUE, os.urandom(8).hex())


def inputs_of_jobs(
    plan: Plan, reruns: Reruns | None, ancient: Callable[[str], str]
) -> Mapping[tuple[str, str], dict[str, str]]:
    """Lists the inputs of all jobs, so that Snakemake runs those that are out of date and no others.

    Args:
        plan: all jobs.
        reruns: what is to run; ``None`` in a process that runs some of the jobs, where that was settled before.
        ancient: marks a path whose age says nothing; Snakemake's own function.

    Returns:
        By stage and key, paths by name.
    """
    if reruns is None:
        return {(verb, key): job.inputs for verb, jobs in plan.jobs.items() for key, job in jobs.items()}
    return {node: _inputs(reruns, node, ancient) for node in plan.nodes}


def _inputs(reruns: Reruns, node: Node, ancient: Callable[[str], str]) -> dict[str, str]:
    """Lists what one job reads.

    A job that runs does so for :data:`DUE` alone. One that does not needs no input that is gone, and one of a copy
    whose times say nothing is not judged by them.
    """
    plan = reruns.plan
    wanted = dict(plan.job(node).inputs)
    if node.verb == "summarize":
        wanted = {f"cell_{number}": plan.job(maker).output for number, maker in enumerate(plan.needs(node))}
    if node in reruns.runs:
        now = time.time_ns()
        return {name: ancient(path) if _time(path) > now else path for name, path in wanted.items()} | {"due": str(DUE)}
    oldest = min(map(_time, _files(reruns, node)), default=0)
    return {
        # What is only made again as it was does not make its readers run.
        name: ancient(path) if changed > oldest or plan.makers.get(path) in reruns.runs else path
        for name, path in wanted.items()
        if (changed := _time(path))
    }


def _files(reruns: Reruns, node: Node) -> list[Path]:
    """Lists what a job has written, as far as it is there."""
    output = Path(reruns.plan.job(node).output)
    names = {output.name, *reruns.record(node).outputs_sha256}
    # Snakemake judges a folder by a file that it puts there.
    folders = {str(Path(name).parent) for name in names if "/" in name}
    names |= folders | {f"{name}/.snakemake_timestamp" for name in folders}
    return [path for name in names if (path := output.parent / name).exists()]


def _time(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
