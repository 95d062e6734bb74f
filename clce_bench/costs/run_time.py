"""How long the next run takes on this machine: what was measured of it, and what stages take beside."""

from collections import defaultdict

from clce_bench.costs.cell_cost import CellCost, episodes_flops, features_costs
from clce_bench.costs.speeds import device_here, speeds, workload
from clce_bench.machine import cpu_name
from clce_bench.planning.reruns import Reruns

STARTING = 15.0
"""Seconds until all cores have work: the workflow is read twice, torch imported, a data set prepared."""
TOGETHER = dict.fromkeys(("train", "evaluate", "measure", "features", "labels", "episodes"), 1.0)
TOGETHER |= {"figures": 3.0, "corruptions": 60.0}
"""Seconds that a job takes beside what was measured, for starting, reading and writing; each core runs one.

Corrupting an image in all ways takes some 0.05 s at 64 to 96 pixels."""
ALONE = {"tune": 3.0, "summarize": 12.0, "report": 8.0, "track": 17.0}
"""Seconds of jobs beside which nothing else runs, and of each cell in them."""
PER_CELL = {"summarize": 0.09, "track": 0.13}


def features_threads(reruns: Reruns | None, cores: int | None) -> int:
    """Divides the cores of this machine among the ``features`` jobs of a run: no cell trains before they are done.

    Args:
        reruns: what runs; ``None`` where that was settled elsewhere.
        cores: ``None`` where others' machines run the jobs.

    Returns:
        Cores for each, at least 1.
    """
    if reruns is None or cores is None:
        return 1
    jobs = sum(node.verb == "features" for node in reruns.runs)
    return max(1, cores // max(1, jobs))


def run_seconds(reruns: Reruns, costs: dict[str, CellCost], cores: int) -> float | None:
    """Adds up what the jobs of the next run take on this machine, spread over its cores.

    Args:
        reruns: the jobs.
        costs: of all cells.
        cores: how many jobs run at once; a GPU trains one cell at a time.

    Returns:
        Seconds; ``None`` where something of the kind was not measured.
    """
    cells = {cell.key: cell for cell in reruns.plan.cells}
    device, known = device_here(reruns.plan.experiment.runtime.device), speeds()
    training, views, probe = known.training.get(device, {}), known.views.get(device, {}), known.probe.get(cpu_name())
    if probe is None or not {workload(cell) for cell in cells.values()} <= training.keys() & views.keys():
        return None
    jobs: dict[str, list[str]] = defaultdict(list)
    for verb, key in reruns.runs:
        jobs[verb].append(key)
    trunks = features_costs(reruns.plan)
    features = [trunks[key].views * views[workload(trunks[key].cell)] for key in jobs["features"]]
    trained = sum(costs[cells[key].name].flops / training[workload(cells[key])] for key in jobs["train"])
    probes = [costs[cells[key].name].probe + episodes_flops(reruns.plan, cells[key]) for key in jobs["evaluate"]]
    evaluated = sum(probes) / probe
    beside = sum(seconds * len(jobs[verb]) for verb, seconds in TOGETHER.items())
    alone = sum((seconds + PER_CELL.get(verb, 0) * len(cells)) * len(jobs[verb]) for verb, seconds in ALONE.items())
    threads = features_threads(reruns, cores) if device == cpu_name() else 1
    looking = max([sum(features) / cores, *(seconds / threads for seconds in features)])
    return STARTING + looking + trained / (cores if device == cpu_name() else 1) + (evaluated + beside) / cores + alone
