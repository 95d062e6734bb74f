"""What ``plan`` and ``status`` print."""

import json
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from clce_bench.cost import costs_of, features_cost
from clce_bench.data.fetch import readable
from clce_bench.data.needs import needs_of, unprepared
from clce_bench.jobs import RESULTS, Plan, cell_key, status_of
from clce_bench.speed import hours


def list_cells(plan: Plan, path: Path, as_json: bool, finished: bool, cost: bool = False) -> None:
    """Prints the cells with their status.

    Args:
        plan: the experiment.
        path: its file, for the title.
        as_json: print JSON.
        finished: list the finished cells too.
        cost: in JSON, add what each cell costs.
    """
    measured = plan.jobs["evaluate"]
    keys = [cell_key(cell) for cell in plan.cells]
    states = [
        (cell, *status_of(cell, plan.jobs["train"][key], evaluated=key in measured))
        for cell, key in zip(plan.cells, keys, strict=True)
    ]
    if as_json:
        costs = {name: {"cost": asdict(value)} for name, value in costs_of(plan).items()} if cost else {}
        rows = [
            {"cell": cell.name, "status": state, "reason": why, "spec": cell.spec, **costs.get(cell.name, {})}
            for cell, state, why in states
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("cell", "data set", "status", "reason", title=f"{path}: {len(plan.cells)} cells")
    for cell, state, why in states:
        if finished or state != "done":
            table.add_row(cell.name, cell.dataset, state, why)
    console = _console()
    if table.row_count:
        console.print(table)
    console.print(", ".join(f"{count} {state}" for state, count in Counter(state for _, state, _ in states).items()))


def print_costs(plan: Plan) -> None:
    """Prints what the cells of an experiment cost, all of them, whether finished or not."""
    costs = costs_of(plan)
    groups = defaultdict(list)
    for cell in plan.cells:
        groups[cell.dataset, cell.backbone.name].append(costs[cell.name])
    table = Table(
        "data set", "backbone", "cells", "operations", "weights", "per row", "rows per step", "disk", title="Costs"
    )
    for (dataset, backbone), members in sorted(groups.items()):
        largest = max(members, key=lambda cost: cost.memory)
        operations = _operations(sum(cost.flops for cost in members))
        sizes = [readable(size) for size in (largest.weights, largest.row)]
        results = readable(sum(cost.disk for cost in members))
        table.add_row(dataset, backbone, str(len(members)), operations, *sizes, str(largest.rows), results)
    console = _console()
    console.print(table)
    flops, stored = features_cost(plan)
    if stored:
        console.print(f"Outputs of frozen trunks: {_operations(flops)}, {readable(stored)} of disk.")
    console.print(
        "Memory of the largest cell: weights, gradients and optimiser, and per row that the network sees at once"
        " (runtime.micro_batch) its activations, an upper bound in float32."
    )
    for device, needed in hours(plan, costs).items():
        console.print(f"{device}: {'not known for all of these cells' if needed is None else _duration(needed)}")


def print_needs(plan: Plan) -> None:
    """Prints what is to be downloaded or got by hand, and the disk that data sets take."""
    wanted = ((cell.dataset, cell.size) for cell in plan.cells)
    if needs := str(needs_of(unprepared(wanted, RESULTS))):
        _console().print(needs)


def _operations(flops: float) -> str:
    prefix, unit = next((pair for pair in (("E", 1e18), ("P", 1e15), ("T", 1e12)) if flops >= pair[1]), ("G", 1e9))
    return f"{flops / unit:,.3g} {prefix}FLOP"


def _duration(hours: float) -> str:
    value, unit = next(
        (pair for pair in ((hours, "hours"), (hours * 60, "minutes")) if pair[0] >= 1), (hours * 3600, "s")
    )
    return f"{value:,.1f} {unit}"


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = 140
    return console
