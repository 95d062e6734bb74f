"""What cells have taken before, from their records: what their like will ask a cluster for is learnt from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from clce_bench.costs.speeds import speeds, workload
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Runtime
from clce_bench.machine import cpu_name
from clce_bench.records.job_records import read_record
from clce_bench.records.record_models import CellRecord, EvaluationRecord

SAMPLES = 8


@dataclass(frozen=True)
class Past:
    """The largest of what some trained cells of one kind took.

    Attributes:
        memory: MiB of main memory in training, of one of its processes.
        seconds: of training.
        evaluation: seconds of evaluation; ``None`` if none was evaluated.
        stored: bytes of the embeddings, which evaluation reads.
    """

    memory: float
    seconds: float
    evaluation: float | None = None
    stored: int = 0


def kind(cell: Cell) -> tuple[object, ...]:
    """Names what cells have in common that take the same time and memory."""
    recipe = cell.recipe
    length = recipe.epochs, recipe.steps
    return cell.dataset, workload(cell), cell.batch_size, recipe.views, length, cell.split.images_per_class


def past_of(cells: Iterable[Cell], runtime: Runtime, gpus: int) -> Past | None:
    """Finds what a few finished cells took.

    Only those count that ran as the next ones will: on a GPU or without, in as many processes. Those that went on from
    a checkpoint do not: their time is that of the last part.

    Args:
        cells: of one kind.
        runtime: how the next ones run.
        gpus: that each of those gets.
    """
    folders = (cell.directory for cell in cells if (cell.directory / "cell.json").exists())
    records = ((folder, read_record(folder / "cell.json")) for folder in folders)
    alike = (
        (folder, record)
        for folder, record in records
        if isinstance(record, CellRecord) and _counts(record, runtime, gpus)
    )
    done = dict(islice(alike, SAMPLES))
    if not done:
        return None
    memory = max(record.peak_memory_mib or 0 for record in done.values())
    seconds = max(record.seconds for record in done.values())
    measured_cells = (read_record(folder / "metrics.json") for folder in done)
    evaluations = [record.seconds for record in measured_cells if isinstance(record, EvaluationRecord)]
    stored = [path.stat().st_size for folder in done if (path := folder / "embeddings.npz").exists()]
    return Past(memory, seconds, max(evaluations, default=None), max(stored, default=0))


def _counts(record: CellRecord, runtime: Runtime, gpus: int) -> bool:
    return (
        record.status == "done"
        and not record.resumed
        and record.runtime.get("processes", 1) == runtime.processes
        and (_gpu_of(record) is not None) == (gpus > 0)
    )


def _gpu_of(record: CellRecord) -> str | None:
    """Names the GPU that trained a cell; a record names that of the machine also where the runtime said to leave it."""
    return None if record.runtime.get("device") == "cpu" else record.environment.gpu


def speed_of(cell: Cell, gpu: bool) -> float | None:
    """Returns the lowest operations per second measured for what a cell runs: on GPUs, or on this processor."""
    here = cpu_name()
    known = speeds().training.items()
    return min(
        (by[workload(cell)] for name, by in known if (name != here) == gpu and workload(cell) in by), default=None
    )
