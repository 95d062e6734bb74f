"""How long cells train: on declared devices, on this machine as measured, and what trained cells really took."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

import yaml

from clce_bench.costs.cell_cost import CellCost, costs_of
from clce_bench.costs.speeds import speeds, workload
from clce_bench.planning.cell_status import training_of
from clce_bench.planning.plan import Plan
from clce_bench.planning.reruns import Reruns


@dataclass(frozen=True)
class Actual:
    """A trained cell, what was expected of it and what it took.

    Attributes:
        cell: its name.
        device: the processor or GPU that trained it.
        flops: expected operations.
        hours: expected, at the speed measured on this device; ``None`` if none was measured.
        actual_hours: that training took.
        memory: expected peak, bytes.
        actual_memory: the peak, bytes: of the GPU, or of the process.
    """

    cell: str
    device: str
    flops: float
    hours: float | None
    actual_hours: float
    memory: int
    actual_memory: int


@cache
def devices() -> dict[str, dict[str, Any]]:
    """Reads the declared devices, ``data_files/devices.yaml``: peak operations per second by precision, and sources."""
    text = (files("clce_bench") / "data_files" / "devices.yaml").read_text(encoding="utf-8")
    declared: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return declared


def hours(plan: Plan, costs: dict[str, CellCost]) -> dict[str, float | None]:
    """Adds up the hours of training on one device of each kind.

    Args:
        plan: the experiment.
        costs: of its cells.

    Returns:
        By device: those measured here with hours at that speed, then the declared ones with hours at their peak, which
        no training reaches. ``None`` where a cell's precision or backbone has no number.
    """
    found: dict[str, float | None] = {}
    for name, measured in speeds().training.items():
        found[f"{name}, measured"] = _hours(
            plan, costs, {cell.name: measured.get(workload(cell)) for cell in plan.cells}
        )
    for name, device in devices().items():
        peaks = {cell.name: device["peak"].get(cell.recipe.precision) for cell in plan.cells}
        found[f"{name}, at its peak"] = _hours(plan, costs, peaks)
    return found


def _hours(plan: Plan, costs: dict[str, CellCost], speeds: dict[str, float | None]) -> float | None:
    total = 0.0
    for cell in plan.cells:
        speed = speeds[cell.name]
        if speed is None:
            return None
        total += costs[cell.name].flops / speed / 3600
    return total


def seconds_to_redo(reruns: Reruns) -> dict[str, float | None]:
    """Says how long training and evaluating each cell takes, by its name.

    What a cell took before counts; else what finished cells of its backbone, size and precision took per operation;
    ``None`` where nothing of the kind is known.
    """
    costs, taken = costs_of(reruns.plan, count=False), {}
    rates: dict[str, list[float]] = {}
    for cell in reruns.plan.cells:
        records = [reruns.record(node) for node in reruns.plan.nodes_of(cell)]
        if records[0].seconds is not None:
            taken[cell.name] = sum(record.seconds or 0.0 for record in records)
            if cell.name in costs:
                rates.setdefault(workload(cell), []).append(taken[cell.name] / costs[cell.name].flops)
    found: dict[str, float | None] = {}
    for cell in reruns.plan.cells:
        known = rates.get(workload(cell))
        guess = fmean(known) * costs[cell.name].flops if known and cell.name in costs else None
        found[cell.name] = taken.get(cell.name, guess)
    return found


def estimated_against_actual(plan: Plan) -> list[Actual]:
    """Sets what trained cells took against what was expected of them, in the order of the plan.

    It covers cells whose cost ``clce-bench plan`` has estimated, before or after they were trained.
    """
    known, found = speeds().training, []
    costs = costs_of(plan, count=False)
    for cell in plan.cells:
        record = training_of(cell)
        if cell.name not in costs or not record:
            continue
        cost = costs[cell.name]
        device = str(record["environment"]["gpu"] or record["environment"]["cpu"])
        speed = known.get(device, {}).get(workload(cell))
        expected = None if speed is None else cost.flops / speed / 3600
        peak = (record.get("peak_gpu_memory_mib") or record["peak_memory_mib"] or 0) * 2**20
        found.append(Actual(cell.name, device, cost.flops, expected, record["seconds"] / 3600, cost.memory, peak))
    return found
