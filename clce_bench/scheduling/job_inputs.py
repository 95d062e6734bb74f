"""What each job reads, as Snakemake is to see it."""

from collections.abc import Callable, Mapping

from clce_bench.planning.plan import Plan
from clce_bench.planning.reruns import Reruns


def begin(plan: Plan) -> Reruns:
    """Settles what is to run, and leaves on disk what Snakemake and later questions need to know of it."""
    plan.prepare()
    reruns = Reruns(plan)
    reruns.announce()
    return reruns


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
    return {
        node: {name: ancient(path) if old else path for name, (path, old) in reruns.inputs(node).items()}
        for node in reruns.nodes
    }
