"""What a job asks a cluster for: memory, time, cores and GPUs, from what a cell costs and what its like have taken."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from clce_bench.cells import Cell
from clce_bench.cost import CellCost, costs_of
from clce_bench.jobs import Plan, cell_key
from clce_bench.recipes import Runtime
from clce_bench.records import read_record
from clce_bench.speed import measured, workload

SLOW_CORE, SLOW_GPU = 5e9, 1e12
"""Operations per second that training is assumed to reach at least where nothing was measured: low guesses."""
PROCESS_MB = 2_000
"""Of a process that has imported torch and holds a data set's small arrays."""
UNKNOWN_MB, UNKNOWN_SECONDS = 16_000, 4 * 3600.0
"""Of a cell of which neither a count nor a trained one of its kind is there."""
MARGIN = 1.5
SMALL_SECONDS = 120.0
"""A cell below shares a cluster's job with others: starting a job of its own would take as long as the cell."""
SAMPLES = 8


@dataclass(frozen=True)
class Needs:
    """What one job asks for.

    Attributes:
        mem_mb: main memory, MB.
        runtime: minutes.
        cpus_per_task: cores.
        gpu: GPUs.
    """

    mem_mb: int
    runtime: int
    cpus_per_task: int
    gpu: int


@dataclass(frozen=True)
class Past:
    """The largest of what some trained cells of one kind took: MiB of main memory, seconds."""

    memory: float
    seconds: float


def expected_seconds(cost: CellCost | None, past: Past | None, speed: float | None, gpu: bool) -> float | None:
    """Estimates how long a cell trains: as its like did, else by its operations; ``None`` if nothing is known."""
    if past:
        return past.seconds
    if cost:
        return cost.flops / (speed or (SLOW_GPU if gpu else SLOW_CORE))
    return None


def training_needs(
    cell: Cell, runtime: Runtime, cost: CellCost | None, past: Past | None, speed: float | None, attempt: int = 1
) -> Needs:
    """Says what training a cell asks for.

    Args:
        cell: what is trained.
        runtime: how.
        cost: as counted, if it was.
        past: what cells of its kind took, if there are any.
        speed: operations per second, if measured.
        attempt: from 1; each further one has twice the memory and time, as one too small may have been the reason.
    """
    gpus = gpus_of(runtime)
    seconds = expected_seconds(cost, past, speed, gpus > 0) or UNKNOWN_SECONDS
    if past:
        memory = MARGIN * past.memory * 2**20 / 1e6
    elif cost:
        memory = PROCESS_MB + (0 if gpus else MARGIN * cost.memory / 1e6)
    else:
        memory = UNKNOWN_MB
    # Images that are decoded for each view take processes of their own beside a GPU.
    loaders = 7 if gpus and runtime.workers is None and cell.backbone.freeze == "none" else runtime.workers or 0
    return Needs(
        mem_mb=math.ceil(max(PROCESS_MB, memory)) * 2 ** (attempt - 1),
        runtime=math.ceil(2 + MARGIN * seconds / 60) * 2 ** (attempt - 1),
        cpus_per_task=runtime.processes + loaders,
        gpu=gpus,
    )


def gpus_of(runtime: Runtime) -> int:
    """Counts the GPUs that a training run of several processes wants; on a cluster without any a profile says 0."""
    return 0 if runtime.device in ("cpu", "mps") else runtime.processes


def cores_of_this_job() -> int:
    """Counts the cores that Slurm gave to the job in which this process runs; one elsewhere."""
    return int(os.environ.get("SLURM_CPUS_PER_TASK", 1))


class Estimates:
    """What the cells of a plan ask for. Reads what earlier cells took only when asked, and only a few of each kind."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._cells = {cell_key(cell): cell for cell in plan.cells}
        self._past: dict[tuple[object, ...], Past | None] = {}

    @cached_property
    def _kinds(self) -> dict[tuple[object, ...], list[Cell]]:
        kinds = defaultdict(list)
        for cell in self._cells.values():
            kinds[_kind(cell)].append(cell)
        return kinds

    @cached_property
    def _costs(self) -> dict[str, CellCost]:
        return costs_of(self._plan, count=False)

    def training(self, key: str, attempt: int = 1) -> Needs:
        """Says what the ``train`` job of this name asks for, see :func:`training_needs`."""
        cell, runtime = self._cells[key], self._plan.experiment.runtime
        return training_needs(cell, runtime, self._costs.get(cell.name), self._past_of(cell), _speed(cell), attempt)

    @property
    def gpu(self) -> int:
        """One GPU for a job that uses one, unless the experiment wants none."""
        return min(1, gpus_of(self._plan.experiment.runtime))

    @property
    def small(self) -> bool:
        """Whether all cells are known to be small, so that batches of them pay."""
        gpu = self.gpu > 0
        found = [
            expected_seconds(self._costs.get(cells[0].name), self._past_of(cells[0]), _speed(cells[0]), gpu)
            for cells in self._kinds.values()
        ]
        return all(seconds is not None and seconds <= SMALL_SECONDS for seconds in found)

    def _past_of(self, cell: Cell) -> Past | None:
        kind = _kind(cell)
        if kind not in self._past:
            self._past[kind] = _past(self._kinds[kind])
        return self._past[kind]


def _kind(cell: Cell) -> tuple[object, ...]:
    recipe = cell.recipe
    return cell.dataset, workload(cell), cell.batch_size, recipe.views, recipe.epochs, cell.split.images_per_class


def _past(cells: Iterable[Cell]) -> Past | None:
    paths = (path for cell in cells if (path := cell.directory / "cell.json").exists())
    records = [read_record(path) or {} for path in islice(paths, SAMPLES)]
    done = [record for record in records if record.get("status") == "done"]
    if not done:
        return None
    return Past(max(record["peak_memory_mib"] for record in done), max(record["seconds"] for record in done))


def _speed(cell: Cell) -> float | None:
    speeds = [by_kind[workload(cell)] for by_kind in measured().values() if workload(cell) in by_kind]
    return min(speeds, default=None)
