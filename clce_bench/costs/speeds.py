"""How fast this machine is: measured once, in seconds, and kept."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from clce_bench.components.registry import load_dataset
from clce_bench.costs.cell_cost import FOLDER, READING, profile_of
from clce_bench.experiment.cells import Cell
from clce_bench.files import read_stored, write_json
from clce_bench.machine import cpu_name
from clce_bench.records.environment import environment

FILE = FOLDER / "speeds.json"
LIGHT = 3e9
"""Operations of an image, with its gradients, up to which a backbone is measured without being asked to."""


@dataclass(frozen=True)
class Speeds:
    """What was measured on this machine.

    Attributes:
        training: operations per second, by device and :func:`workload`.
        views: seconds that an augmented view takes on its way through the frozen trunk, likewise.
        probe: operations per second of a linear probe, by processor.
    """

    training: dict[str, dict[str, float]] = field(default_factory=dict)
    views: dict[str, dict[str, float]] = field(default_factory=dict)
    probe: dict[str, float] = field(default_factory=dict)


def speeds() -> Speeds:
    """Reads what was measured on this machine so far."""
    return Speeds(**(read_stored(FILE) or {}))


def workload(cell: Cell) -> str:
    """Names what decides how fast a device trains a cell."""
    frozen = "" if cell.backbone.freeze == "none" else f", frozen up to {cell.backbone.freeze}"
    stem = ", small stem" if cell.backbone.small_stem else ""
    return f"{cell.backbone.name} at {cell.size} px{frozen}{stem}, {cell.recipe.precision}"


def device_here(choice: str = "auto") -> str:
    """Names what trains on this machine, as far as it was measured: a GPU if one was, else the processor.

    Args:
        choice: as ``runtime.device``.
    """
    gpus = [name for name in speeds().training if name != cpu_name()]
    return gpus[-1] if gpus and choice != "cpu" else cpu_name()


def unmeasured(cells: Iterable[Cell], choice: str = "auto") -> list[Cell]:
    """Picks a cell of each kind that was not measured and is so in a second or two."""
    known = speeds().training.get(device_here(choice), {})
    kinds = {workload(cell): cell for cell in cells if workload(cell) not in known}
    profiles = {kind: profile_of(cell.backbone, cell.size) for kind, cell in kinds.items()}
    return [kinds[kind] for kind, each in profiles.items() if each.trunk + each.forward + each.backward < LIGHT]


def measure_here(cells: Iterable[Cell], choice: str = "auto") -> str:
    """Measures how fast this machine trains and evaluates cells, and keeps the result.

    Args:
        cells: what is to be trained.
        choice: of the device, as ``runtime.device``.

    Returns:
        The device's name.
    """
    from clce_bench.models.device import acquired_device
    from clce_bench.models.speed import measure

    kinds = {workload(cell): cell for cell in cells}
    with acquired_device(choice) as device:
        machine = environment()
        name = str((machine["gpu"] if device.type != "cpu" else None) or machine["cpu"])
        found = {
            kind: measure(cell, load_dataset(cell.dataset).class_count or 10, device) for kind, cell in kinds.items()
        }
    known = speeds()
    known.training[name] = known.training.get(name, {}) | {kind: speed.training for kind, speed in found.items()}
    known.views[name] = known.views.get(name, {}) | {kind: speed.view for kind, speed in found.items()}
    known.probe[cpu_name()] = _probe_speed()
    write_json(FILE, asdict(known))
    return name


def _probe_speed(images: int = 1000, wide: int = 1280, classes: int = 40, passes: int = 20) -> float:
    """Lets one core fit a linear probe to noise, counted as in :mod:`clce_bench.costs.cell_cost`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features = np.random.Generator(np.random.PCG64(0)).standard_normal((images, wide), dtype=np.float32)
    model, taken = LogisticRegression(max_iter=passes, tol=0), []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(3):
            started = time.process_time()
            model.fit(features, np.arange(images) % classes)
            taken.append(time.process_time() - started)
    return passes * 4 * images * wide * (classes + READING) / min(taken)
