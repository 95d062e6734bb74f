"""What a job asks a cluster for: memory, time, cores and GPUs, from what a cell costs and what its like have taken."""

import math
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property

from clce_bench.costs.cell_cost import CellCost, FeaturesCost, costs_of, features_costs
from clce_bench.costs.history import Past, kind, past_of, speed_of
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Runtime
from clce_bench.planning.plan import Plan

SLOW_CORE, SLOW_GPU = 5e9, 1e12
"""Operations per second that training is assumed to reach at least where nothing was measured: low guesses."""
PROCESS_MB, LOADER_MB = 2_000, 300
"""Of a process that has imported torch and holds a data set's small arrays, and of one that decodes images for it."""
LOADERS = 7
"""Cores for decoding images beside each GPU, where the runtime leaves open how many processes do it."""
UNKNOWN_MB, UNKNOWN_SECONDS = 16_000, 4 * 3600.0
"""Of a cell of which neither a count nor a trained one of its kind is there."""
FEATURES_MB = 8_000
"""Of a frozen trunk, which sees 64 images at a time, and of what the system keeps of the file that is written."""
AT_ONCE = 7
"""What evaluation holds at once, in sizes of the stored embeddings: these, and three copies in twice the precision."""
MARGIN = 1.5
SMALL_SECONDS = 120.0
"""A cell below shares a cluster's job with others: starting a job of its own would take as long as the cell."""
START_SECONDS = 120.0
"""Until a job trains: two readings of the workflow and an import of torch, from a slow file system."""


@dataclass(frozen=True)
class JobResources:
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

    @property
    def nodes(self) -> int | None:
        """Machines: several GPUs must be in one, where a single process starts all others; else Slurm may choose."""
        return 1 if self.gpu > 1 else None


def expected_seconds(cost: CellCost | None, past: Past | None, speed: float | None, gpu: bool) -> float | None:
    """Estimates how long a cell trains: as its like did, else by its operations; ``None`` if nothing is known."""
    if past:
        return past.seconds
    if cost:
        return cost.flops / (speed or (SLOW_GPU if gpu else SLOW_CORE))
    return None


def evaluation_seconds(cost: CellCost | None, past: Past | None) -> float:
    """Estimates how long evaluating a cell takes: as for its like, else the operations of its probe."""
    if past and past.evaluation is not None:
        return past.evaluation
    return cost.probe / SLOW_CORE if cost else UNKNOWN_SECONDS


def training_needs(
    cell: Cell,
    runtime: Runtime,
    gpus: int,
    cost: CellCost | None,
    past: Past | None,
    speed: float | None,
    attempt: int = 1,
    start: float = START_SECONDS,
) -> JobResources:
    """Says what training a cell asks for.

    Args:
        cell: what is trained.
        runtime: how.
        gpus: how many it gets.
        cost: as counted, if it was.
        past: what cells of its kind took, if there are any.
        speed: operations per second, if measured.
        attempt: from 1; each further one has twice the memory and time, as one too small may have been the reason.
        start: seconds until it trains.
    """
    seconds = expected_seconds(cost, past, speed, gpus > 0) or UNKNOWN_SECONDS
    computed = cell.backbone.freeze == "none"  # Then images are decoded for each view, by processes of their own.
    loaders = runtime.workers if runtime.workers is not None else LOADERS if gpus else 0
    cores = runtime.processes * (1 + (loaders if computed else 0))
    # Left to themselves, the processes start a loader for every core that the job has.
    started = (cores if gpus and runtime.workers is None else runtime.processes * loaders) if computed else 0
    if past:
        memory = runtime.processes * max(PROCESS_MB, MARGIN * past.memory * 2**20 / 1e6)
    elif cost:
        memory = runtime.processes * (PROCESS_MB + (0 if gpus else MARGIN * cost.memory / 1e6))
    else:
        memory = runtime.processes * UNKNOWN_MB
    return _scaled(memory + started * LOADER_MB, start + MARGIN * seconds, cores, gpus, attempt)


def evaluation_needs(
    cost: CellCost | None, past: Past | None, attempt: int = 1, start: float = START_SECONDS
) -> JobResources:
    """Says what evaluating a cell asks for: one core, as its bits must not depend on how many there are.

    Args:
        cost: as counted, if it was.
        past: what cells of its kind took, if there are any.
        attempt: from 1; each further one has twice the memory and time.
        start: seconds until it measures.
    """
    if cost:
        memory = PROCESS_MB + MARGIN * cost.evaluation / 1e6
    elif past and past.stored:
        memory = PROCESS_MB + MARGIN * AT_ONCE * past.stored / 1e6
    else:
        memory = UNKNOWN_MB
    return _scaled(memory, start + MARGIN * evaluation_seconds(cost, past), 1, 0, attempt)


def features_needs(flops: float | None, gpus: int, attempt: int = 1) -> JobResources:
    """Says what computing the outputs of a frozen trunk asks for.

    Args:
        flops: operations, if counted.
        gpus: 0 or 1.
        attempt: from 1; each further one has twice the memory and time.
    """
    seconds = UNKNOWN_SECONDS if flops is None else flops / (SLOW_GPU if gpus else SLOW_CORE)
    return _scaled(FEATURES_MB, 10 * 60 + MARGIN * seconds, 1, gpus, attempt)


def _scaled(memory: float, seconds: float, cores: int, gpus: int, attempt: int) -> JobResources:
    more = 2 ** (attempt - 1)
    return JobResources(math.ceil(memory) * more, math.ceil(seconds / 60) * more, cores, gpus)


def gpus_of(runtime: Runtime) -> int:
    """Counts the GPUs that a training run of several processes wants; on a cluster without any a profile says 0."""
    return 0 if runtime.device in ("cpu", "mps") else runtime.processes


def given_to_this_job() -> dict[str, int]:
    """Says to what Snakemake is held in this job of a cluster: what Slurm gave to it; elsewhere one cell at a time."""
    cores, gpus = os.environ.get("SLURM_CPUS_PER_TASK"), os.environ.get("SLURM_GPUS")
    if cores is None:
        return {"slot": 1}
    # GPUs are there as they were asked for: a number, or a model and a number.
    return {"cpus_per_task": int(cores), **({"gpu": int(gpus.rpartition(":")[2])} if gpus else {})}


class Estimates:
    """What the cells of a plan ask for. Reads what earlier cells took only when asked, and only a few of each kind.

    Args:
        plan: the experiment.
        gpus: that training a cell gets where that is settled, as on a cluster without any; else as the runtime says.
        batch: small cells that share a job.
    """

    def __init__(self, plan: Plan, gpus: int | None = None, batch: int = 1) -> None:
        self._plan = plan
        self._gpus = gpus_of(plan.experiment.runtime) if gpus is None else gpus
        self._batch = batch
        self._cells = {cell.key: cell for cell in plan.cells}
        self._past: dict[tuple[object, ...], Past | None] = {}

    @cached_property
    def _kinds(self) -> dict[tuple[object, ...], list[Cell]]:
        kinds = defaultdict(list)
        for cell in self._cells.values():
            kinds[kind(cell)].append(cell)
        return kinds

    @cached_property
    def _costs(self) -> dict[str, CellCost]:
        return costs_of(self._plan, count=False)

    @cached_property
    def _features(self) -> dict[str, FeaturesCost]:
        return features_costs(self._plan, count=False)

    def training(self, key: str, attempt: int = 1) -> JobResources:
        """Says what the ``train`` job of this name asks for, see :func:`training_needs`.

        Snakemake adds up whole minutes over the cells of a batch, so that of a small cell asks for its evaluation too.
        """
        cell, runtime = self._cells[key], self._plan.experiment.runtime
        cost, past = self._costs.get(cell.name), self._past_of(cell)
        start = self._start + (MARGIN * evaluation_seconds(cost, past) if self.small else 0)
        return training_needs(cell, runtime, self._gpus, cost, past, speed_of(cell, self._gpus > 0), attempt, start)

    def evaluation(self, key: str, attempt: int = 1) -> JobResources:
        """Says what the ``evaluate`` job of this name asks for, see :func:`evaluation_needs`."""
        cell = self._cells[key]
        needs = evaluation_needs(self._costs.get(cell.name), self._past_of(cell), attempt, self._start)
        trained = (cell.directory / "cell.json").exists()
        return needs if trained or not self.small else replace(needs, runtime=0)

    def measure(self, key: str, attempt: int = 1) -> JobResources:
        """Says what the ``measure`` job of this name asks for: as evaluation, but nothing was timed of its kind."""
        needs = self.evaluation(key.rpartition("/")[0], attempt)
        return replace(needs, runtime=math.ceil(UNKNOWN_SECONDS / 60) * 2 ** (attempt - 1))

    def features(self, key: str, attempt: int = 1) -> JobResources:
        """Says what the ``features`` job of this name asks for, see :func:`features_needs`."""
        cost = self._features.get(key)
        return features_needs(cost.flops if cost else None, min(1, self._gpus), attempt)

    def corruptions(self, _key: str, attempt: int = 1) -> JobResources:
        """Says what the ``corruptions`` job of this name asks for: as features that were never counted."""
        return features_needs(None, min(1, self._gpus), attempt)

    @cached_property
    def small(self) -> bool:
        """Whether all cells are known to be small, so that batches of them pay."""
        gpu = self._gpus > 0
        found = [
            expected_seconds(self._costs.get(cells[0].name), self._past_of(cells[0]), speed_of(cells[0], gpu), gpu)
            for cells in self._kinds.values()
        ]
        return all(seconds is not None and seconds <= SMALL_SECONDS for seconds in found)

    @property
    def _start(self) -> float:
        return START_SECONDS / self._batch if self.small else START_SECONDS

    def _past_of(self, cell: Cell) -> Past | None:
        own = kind(cell)
        if own not in self._past:
            self._past[own] = past_of(self._kinds[own], self._plan.experiment.runtime, self._gpus)
        return self._past[own]
