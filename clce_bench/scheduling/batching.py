"""Which jobs go to a cluster together."""

from typing import NamedTuple

from clce_bench.planning.reruns import Reruns


class Groups(NamedTuple):
    """Names of groups of jobs; those of one group may share a cluster's job.

    Attributes:
        cells: of training.
        evaluations: of evaluating.
    """

    cells: str
    evaluations: str


def groups_of(remote: bool, small: bool) -> Groups:
    """Chooses the groups of a cell's jobs.

    Cells are batched on clusters only, though a dry run shows the batches anywhere. A large cell is evaluated by a job
    of its own, which has no GPU. What has come to a job of a cluster stays together, whatever was learnt of its cells
    meanwhile.

    Args:
        remote: whether this is a job of a cluster.
        small: whether all cells are so small that batches pay.
    """
    if remote:
        return Groups("batch", "batch")
    return Groups("small_cells", "small_cells") if small else Groups("cells", "evaluations")


def batch_size(configured: int, reruns: Reruns | None) -> int:
    """Says how many small cells share a job: as a profile says, but no more than are to run, and at least one.

    Args:
        configured: what the profile says.
        reruns: what is to run; ``None`` where that was settled before.
    """
    evaluations = configured if reruns is None else sum(node.verb == "evaluate" for node in reruns.runs)
    return max(1, min(configured, evaluations))
