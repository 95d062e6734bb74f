"""How long ``snakemake`` takes to find out that nothing is to be done.

The results are stubs: small files with the records that real jobs leave. Run ``python benchmarks/noop.py``; it writes
docs/benchmarks/noop.md. With ``--cells 200`` it prints one row and writes nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import yaml

from clce_bench.experiment.loading import load_experiment
from clce_bench.files import digest, read_json, sha256_of, write_json, write_text
from clce_bench.planning.evidence import cells_checksum
from clce_bench.planning.plan import Job, Plan, plan_of
from clce_bench.planning.reruns import reruns_of
from clce_bench.records.environment import environment, now
from clce_bench.records.job_records import modules_of, record_path
from clce_bench.scheduling.job_inputs import inputs_of_jobs

ROOT = Path(__file__).parent.parent
SIZES = (200, 2_000, 10_000)
TARGETS = {200: 5.0, 10_000: 60.0}
OTHERS = {
    "train": ("history.csv", "model.safetensors", "embeddings.npz"),
    "evaluate": ("metrics.npz",),
    "dataset": ("items.parquet",),
    "splits": ("splits.parquet",),
    "backbone": ("model.safetensors",),
    "features": ("features.npy", "index.npy"),
    "track": ("runs.html",),
}


def experiment(cells: int) -> dict[str, Any]:
    """Describes an experiment of so many cells, a multiple of 50."""
    grid = {"name": "main", "dataset": "digits", "loss": "clce", "batch_size": [8, 16, 32, 64, 128]}
    grid |= {"lambda": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "seed": list(range(cells // 50))}
    return {"name": "noop", "backbone": {"freeze": "blocks"}, "grids": [grid]}


def make_up(plan: Plan) -> None:
    """Writes what the jobs of a plan would have left."""
    plan.prepare()
    machine = environment()
    for verb, jobs in plan.jobs.items():
        modules: dict[str, dict[str, str]] = {}
        for job in jobs.values():
            make_up_job(plan, verb, job, modules.setdefault(job.code, modules_of(verb, job.code)), machine)


def make_up_job(plan: Plan, verb: str, job: Job, modules: dict[str, str], machine: dict[str, Any]) -> None:
    """Writes the outputs of one job, and its record."""
    output = Path(job.output)
    for name in OTHERS.get(verb, ()):
        write_text(output.with_name(name), "stub")
    outputs = dict.fromkeys(OTHERS.get(verb, ()), "0" * 64)
    record: dict[str, Any] = {
        "status": "done",
        "reason": None,
        "job": job.definition,
        "inputs_sha256": {name: _content(Path(path)) for name, path in job.inputs.items()},
        "outputs_sha256": outputs,
        "modules": modules,
        "started": now(),
        "seconds": 1.0,
        "peak_memory_mib": 100,
    }
    if verb == "train":
        record["environment"] = machine
    elif verb != "evaluate":
        write_text(output, "{}")
        names = (*outputs, output.name)
        record["outputs_sha256"] = {name: sha256_of(output.with_name(name)) for name in names}
    if verb == "summarize":
        record["inputs_sha256"] = {"cells": cells_checksum(plan)}
    write_json(record_path(output), record)


def _content(path: Path) -> str:
    record = read_json(path if path.name == "cell.json" else record_path(path))
    outputs = record["outputs_sha256"]
    return digest(outputs, length=64) if path.name == "cell.json" else str(outputs[path.name])


def measure(cells: int, folder: Path) -> dict[str, float]:
    """Makes results up, and times the run that has nothing to do, in seconds."""
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment(cells)))
    make_up(plan_of(load_experiment(path)))
    _snakemake(folder)  # Reads the files whose times it has not seen.
    whole = _time(lambda: _snakemake(folder))
    start = _time(lambda: subprocess.run([_script("snakemake"), "--version"], check=True, capture_output=True))
    clock = time.perf_counter()
    plan = plan_of(load_experiment(path))
    planned = time.perf_counter()
    reruns = reruns_of(plan)
    assert not reruns.runs
    inputs_of_jobs(plan, reruns, str)
    checked = time.perf_counter()
    own = {"cells to jobs": planned - clock, "records": checked - planned}
    return {"total": whole, "start of Snakemake": start, **own, "Snakemake's graph": whole - start - sum(own.values())}


def _snakemake(folder: Path) -> None:
    command = [_script("snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--configfile", "experiment.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in done.stdout + done.stderr, done.stderr


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _time(call: Any) -> float:
    clock = time.perf_counter()
    call()
    return time.perf_counter() - clock


def table(rows: dict[int, dict[str, float]]) -> str:
    """Writes the measurements as Markdown."""
    parts = list(next(iter(rows.values())))
    lines = [f"| cells | {' (s) | '.join(parts)} (s) | ms per cell | target (s) |", "| " + "--- | " * (len(parts) + 3)]
    for cells, row in rows.items():
        numbers = " | ".join(f"{row[part]:.1f}" for part in parts)
        target = f"≤ {TARGETS[cells]:g}" if cells in TARGETS else "–"
        lines.append(f"| {cells:,} | {numbers} | {1000 * row['total'] / cells:.1f} | {target} |")
    return "\n".join(lines)


@click.command()
@click.option("--cells", "wanted", type=int, multiple=True, help="A multiple of 50; prints and writes nothing.")
def main(wanted: tuple[int, ...]) -> None:
    """Measures and writes the page."""
    rows = {}
    before = Path.cwd()
    for cells in wanted or SIZES:
        with tempfile.TemporaryDirectory() as name:
            os.chdir(name)
            rows[cells] = measure(cells, Path(name))
            os.chdir(before)
    if wanted:
        print(table(rows))
        return
    machine = environment()
    page = f"""# When nothing is to be done

`snakemake` over finished results, made up by `python benchmarks/noop.py`: from the command to "Nothing to be done".
"cells to jobs" expands the experiment and fingerprints the code; "records" reads what every job has left and compares;
the rest is Snakemake's own.

{table(rows)}

{machine["cpu"]}, {machine["cores"]} cores, Python {machine["python"]}, {now()[:10]}.
"""
    write_text(ROOT / "docs" / "benchmarks" / "noop.md", page)


if __name__ == "__main__":
    main()
