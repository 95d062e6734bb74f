"""What a job asks a cluster for: memory, time, cores and GPUs, from what a cell costs and what its like have taken."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from clce_bench.cells import Cell
from clce_bench.cost import CellCost, costs_of, features_costs
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
FEATURES_MB = 8_000
"""Of a frozen trunk, which sees 64 images at a time, and of what the system keeps of the file that is written."""
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
    """The largest of what some trained cells of one kind took.

    Attributes:
        memory: MiB of main memory in training.
        seconds: of training.
        evaluation: seconds of evaluation; ``None`` if none was evaluated.
    """

    memory: float
    seconds: float
    evaluation: float | None = None


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
    cores = runtime.processes + loaders
    return _scaled(max(PROCESS_MB, memory), 2 * 60 + MARGIN * seconds, cores, gpus, attempt)


def evaluation_needs(cost: CellCost | None, past: Past | None, attempt: int = 1) -> Needs:
    """Says what evaluating a cell asks for: one core, as its bits must not depend on how many there are.

    Args:
        cost: as counted, if it was.
        past: what cells of its kind took, if there are any.
        attempt: from 1; each further one has twice the memory and time.
    """
    guess = cost.probe / SLOW_CORE if cost else UNKNOWN_SECONDS
    seconds = past.evaluation if past and past.evaluation is not None else guess
    memory = PROCESS_MB + MARGIN * cost.evaluation / 1e6 if cost else UNKNOWN_MB
    return _scaled(memory, 2 * 60 + MARGIN * seconds, 1, 0, attempt)


def features_needs(flops: float | None, gpus: int, attempt: int = 1) -> Needs:
    """Says what computing the outputs of a frozen trunk asks for.

    Args:
        flops: operations, if counted.
        gpus: 0 or 1.
        attempt: from 1; each further one has twice the memory and time.
    """
    seconds = UNKNOWN_SECONDS if flops is None else flops / (SLOW_GPU if gpus else SLOW_CORE)
    return _scaled(FEATURES_MB, 10 * 60 + MARGIN * seconds, 1, gpus, attempt)


def _scaled(memory: float, seconds: float, cores: int, gpus: int, attempt: int) -> Needs:
    more = 2 ** (attempt - 1)
    return Needs(math.ceil(memory) * more, math.ceil(seconds / 60) * more, cores, gpus)


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

    @cached_property
    def _features(self) -> dict[str, tuple[float, int]]:
        return features_costs(self._plan, count=False)

    def training(self, key: str, attempt: int = 1) -> Needs:
        """Says what the ``train`` job of this name asks for, see :func:`training_needs`."""
        cell, runtime = self._cells[key], self._plan.experiment.runtime
        return training_needs(cell, runtime, self._costs.get(cell.name), self._past_of(cell), _speed(cell), attempt)

    def evaluation(self, key: str, attempt: int = 1) -> Needs:
        """Says what the ``evaluate`` job of this name asks for, see :func:`evaluation_needs`."""
        cell = self._cells[key]
        return evaluation_needs(self._costs.get(cell.name), self._past_of(cell), attempt)

    def features(self, key: str, attempt: int = 1) -> Needs:
        """Says what the ``features`` job of this name asks for, see :func:`features_needs`."""
        flops, _ = self._features.get(key, (None, 0))
        return features_needs(flops, min(1, gpus_of(self._plan.experiment.runtime)), attempt)

    @property
    def small(self) -> bool:
        """Whether all cells are known to be small, so that batches of them pay."""
        gpu = gpus_of(self._plan.experiment.runtime) > 0
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
    folders = (cell.directory for cell in cells if (cell.directory / "cell.json").exists())
    records = {folder: read_record(folder / "cell.json") or {} for folder in islice(folders, SAMPLES)}
    done = {folder: record for folder, record in records.items() if record.get("status") == "done"}
    if not done:
        return None
    memory, seconds = (max(record[name] for record in done.values()) for name in ("peak_memory_mib", "seconds"))
    evaluations = [record["seconds"] for folder in done if (record := read_record(folder / "metrics.json"))]
    return Past(memory, seconds, max(evaluations, default=None))


def _speed(cell: Cell) -> float | None:
    speeds = [by_kind[workload(cell)] for by_kind in measured().values() if workload(cell) in by_kind]
    return min(speeds, default=None)
