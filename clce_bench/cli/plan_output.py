"""What ``plan`` prints."""

import json
import os
from collections import Counter, defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console

from clce_bench.analysis.power_report import visible_of
from clce_bench.analysis.rounds import cells_of_rounds
from clce_bench.components.registry import load_dataset
from clce_bench.costs.cell_cost import CellCost, costs_of, features_costs
from clce_bench.costs.run_time import run_seconds
from clce_bench.costs.speeds import device_here
from clce_bench.costs.throughput import hours
from clce_bench.data.class_sizes import imbalance_warning
from clce_bench.data.fetch import readable
from clce_bench.data.requirements import requirements_of, unprepared
from clce_bench.files import read_json
from clce_bench.planning.cell_status import State, states_of
from clce_bench.planning.job import Node
from clce_bench.planning.plan import RESULTS, Plan
from clce_bench.planning.reruns import Reruns
from clce_bench.planning.stages import STAGE_ORDER
from clce_bench.report.terminal import TextTable


def print_json(reruns: Reruns, cost: bool) -> None:
    """Prints the jobs that the next ``snakemake`` runs, all cells, and what comparisons can show, as JSON.

    Args:
        reruns: what is to run.
        cost: add what each cell costs.
    """
    plan, states = reruns.plan, states_of(reruns)
    costs = {name: {"cost": asdict(value)} for name, value in costs_of(plan).items()} if cost else {}
    cells = [
        {"cell": cell.name, **states[cell.name]._asdict(), "spec": cell.spec, **costs.get(cell.name, {})}
        for cell in plan.cells
    ]
    jobs = [{"rule": node.verb, "key": node.key, "reason": reason} for node, reason in reruns.runs.items()]
    visible = [asdict(one) for one in visible_of(plan.whole)]
    counted = cells_of_rounds(plan)
    rounds = {"rounds": counted._asdict()} if counted else {}
    click.echo(json.dumps({"jobs": jobs, "cells": cells, "visible": visible, **rounds}, indent=2))


def print_answer(reruns: Reruns, path: Path, costs: dict[str, CellCost]) -> None:
    """Prints how many cells there are, what the next run does, and how long it takes.

    Args:
        reruns: what is to run.
        path: the experiment file.
        costs: what each cell costs, by name; empty where nobody asked.
    """
    plan, states = reruns.plan, states_of(reruns)
    print_text(f"{path}: {len(plan.cells)} cells: {counts_of(states)}.")
    counts = Counter(node.verb for node in reruns.runs)
    listing = ", ".join(f"{counts[verb]} {verb}" for verb in STAGE_ORDER if counts[verb])
    print_text(f"The next run: {counts.total()} jobs: {listing}." if listing else "The next run has nothing to do.")
    cores = os.cpu_count() or 1
    if costs and listing and (seconds := run_seconds(reruns, costs, cores)):
        machine = f"{device_here(plan.experiment.runtime.device)}, {cores} cores"
        print_text(f"It takes about {duration(seconds / 3600)} here ({machine}) if nothing else runs.")


def list_cells(plan: Plan, states: dict[str, State]) -> None:
    """Prints all cells with their status."""
    rows = [(cell.name, cell.dataset, *states[cell.name][:2]) for cell in plan.cells]
    Console().print(TextTable(("cell", "data set", "status", "reason"), rows, ["data set"], ["reason"], "Cells"))


def counts_of(states: dict[str, State]) -> str:
    """Says how many cells have which status."""
    return ", ".join(
        f"{count} {status}" for status, count in Counter(state.status for state in states.values()).items()
    )


def print_costs(reruns: Reruns, costs: dict[str, CellCost]) -> None:
    """Prints what the cells of an experiment cost, all of them, and what of that is still to be spent.

    Args:
        reruns: what is to run.
        costs: of each cell, by name.
    """
    plan = reruns.plan
    left = replace(plan, cells=[cell for cell in plan.cells if Node("train", cell.key) in reruns.runs])
    groups = defaultdict(list)
    for cell in plan.cells:
        groups[cell.dataset, cell.backbone.name].append(costs[cell.name])
    columns = ("data set", "backbone", "cells", "operations", "weights", "per row", "rows per step", "disk")
    rows = []
    for (dataset, backbone), members in sorted(groups.items()):
        largest = max(members, key=lambda cost: cost.memory)
        operations = _operations(sum(cost.flops for cost in members))
        sizes = [readable(size) for size in (largest.weights, largest.row)]
        results = readable(sum(cost.disk for cost in members))
        rows.append((dataset, backbone, str(len(members)), operations, *sizes, str(largest.rows), results))
    spare = ("rows per step", "weights", "per row", "backbone")
    Console().print(TextTable(columns, rows, spare, title="Costs of all cells"))
    if trunks := features_costs(plan).values():
        flops, stored = sum(trunk.flops for trunk in trunks), sum(trunk.disk for trunk in trunks)
        print_text(f"Outputs of frozen trunks: {_operations(flops)}, {readable(stored)} of disk.")
    print_text(
        "Memory of the largest cell: weights, gradients and optimiser; and for each row that the network sees at once"
        " (runtime.micro_batch) its activations, an upper bound in float32."
    )
    spent = sum(costs[cell.name].flops for cell in left.cells)
    print_text(
        f"To be trained: {len(left.cells)} of {len(plan.cells)} cells, {_operations(spent)}. That alone, one at a time:"
    )
    still = hours(left, costs)
    for device, needed in hours(plan, costs).items():
        remaining = f", of which still {duration(still[device] or 0)}" if left.cells != plan.cells else ""
        print_text(
            f"{device}: " + ("not known for all of these cells" if needed is None else duration(needed) + remaining)
        )


def print_visible(plan: Plan) -> None:
    """Prints the smallest differences that the claims' comparisons can show."""
    by_claim = defaultdict(list)
    for one in visible_of(plan.whole):
        by_claim[one.claim].append(one)
    if not by_claim:
        return
    rows = []
    for claim, found in by_claim.items():
        known = [one.smallest for one in found if one.smallest is not None]
        ends = sorted({f"{end:.1f}" for end in (min(known), max(known))}, key=float) if known else []
        few = len(found) - len(known)
        listed = [" to ".join(ends)] * bool(ends) + [f"{few} without three seeds"] * bool(few)
        rows.append((claim, str(len(found)), f"{found[0].alpha:.2g}", ", ".join(listed)))
    sources = ", ".join(dict.fromkeys(one.source for members in by_claim.values() for one in members))
    columns, title = ("claim", "comparisons", "level", "points"), "Smallest difference that can be shown"
    Console().print(TextTable(columns, rows, ["level"], ["points"], title))
    print_text(f"Found four times in five; variances from {sources}. Each comparison: clce-bench power.")


def print_rounds(plan: Plan) -> None:
    """Prints how many cells rounds of seeds have asked for, of how many."""
    if counted := cells_of_rounds(plan):
        asked, most, still_open = counted
        saved = "more where claims stay undecided" if still_open else f"{most - asked} saved"
        print_text(f"Seeds in rounds: {asked} of at most {most} cells so far, {saved}.")


def print_needs(plan: Plan) -> None:
    """Prints what is to be downloaded or got by hand, and the disk that data sets take."""
    wanted = ((cell.dataset, cell.size) for cell in plan.cells)
    if needs := str(requirements_of(unprepared(wanted, RESULTS))):
        print_text(needs)


def print_imbalances(plan: Plan) -> None:
    """Warns of data sets whose classes differ much in size, as far as their sizes are known before a run."""
    warnings = set()
    for job in plan.jobs["dataset"].values():
        prepared, dataset = Path(job.output), load_dataset(job.spec["dataset"])
        sizes = dataset.class_sizes
        if not sizes and prepared.exists():
            sizes = read_json(prepared).get("class_sizes")
        warnings.add(imbalance_warning(dataset.name, sizes))
    for warning in sorted(filter(None, warnings)):
        print_text(f"Warning: {warning}")


def _operations(flops: float) -> str:
    prefix, unit = next((pair for pair in (("E", 1e18), ("P", 1e15), ("T", 1e12)) if flops >= pair[1]), ("G", 1e9))
    return f"{flops / unit:,.3g} {prefix}FLOP"


def duration(hours: float) -> str:
    """Writes a length of time for people."""
    value, unit = next(
        (pair for pair in ((hours, "hours"), (hours * 60, "minutes")) if pair[0] >= 1), (hours * 3600, "s")
    )
    return f"{value:,.1f} {unit}"


def print_text(text: str) -> None:
    """Prints a line that the terminal folds where it is too long, so that names in it can be copied."""
    Console().print(text, soft_wrap=True)
