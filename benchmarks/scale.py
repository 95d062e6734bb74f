"""What an experiment of many cells costs besides training them: results made up, everything else real.

Run ``python benchmarks/scale.py`` in the repository; it prints a table and writes docs/benchmarks/scale.md.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "scale.md"
SIZES = (100, 1_000, 5_000, 10_000, 20_000)
SEEDS = 5
STAGES = {
    "plan": "`clce-bench plan`: the file read, its cells and jobs listed",
    "status": "`clce-bench status`: the records of all cells read, what is out of date found",
    "job": "reading the workflow again in one job of a cluster",
    "summary": "`summarize`: tables of all cells, comparisons, verdicts",
    "report": "`report`",
}


def grids(cells: int) -> list[dict[str, object]]:
    """Makes an experiment grow as experiments do: grids of a few losses on five seeds, one after another."""
    losses = ["ce", "supcon", "schane", "clce"]
    sizes = range(16, 16 + math.ceil(cells / SEEDS / len(losses)))
    chunks = [list(sizes[start : start + 25]) for start in range(0, len(sizes), 25)]
    common = {"dataset": "digits", "loss": losses, "seed": list(range(SEEDS))}
    return [{"name": f"sizes-{number}", **common, "batch_size": chunk} for number, chunk in enumerate(chunks)]


def measure(cells: int) -> dict[str, float]:
    """Measures one size in this process, below the working directory: seconds of a core by stage, MiB at the peak."""
    sys.path.insert(0, str(ROOT))
    from clce_bench.analysis.summary import write_summary
    from clce_bench.experiment.loading import load_experiment
    from clce_bench.machine import peak_memory
    from clce_bench.planning.cell_status import states_of
    from clce_bench.planning.plan import plan_of
    from clce_bench.planning.reruns import reruns_of
    from clce_bench.report.page import write_report
    from clce_bench.scheduling.resources import Estimates
    from tests.helpers.made_up import make_up

    experiment, plan = make_up(name="scale", grids=grids(cells), figures=[])
    path, folder = plan.folder / "experiment.json", plan.folder

    def job() -> None:
        own = plan_of(load_experiment(path))
        estimates = Estimates(own, gpus=0)
        assert estimates.small
        estimates.training(next(iter(own.jobs["train"])))

    stages: dict[str, Callable[[], object]] = {
        "plan": lambda: plan_of(load_experiment(path)),
        "status": lambda: states_of(reruns_of(plan)),
        "job": job,
        "summary": lambda: write_summary(experiment, folder),
        "report": lambda: write_report(experiment, folder / "report.html"),
    }
    found: dict[str, float] = {"cells": len(plan.cells)}
    for name, run in stages.items():
        started = time.process_time()
        run()
        found[name] = time.process_time() - started
    found["memory"] = peak_memory() / 2**20
    found["page"] = (folder / "report.html").stat().st_size / 2**20
    return found


def main() -> None:
    """Measures all sizes, each in a process and a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", type=int, help="Measure this size here and print JSON.")
    parser.add_argument("--dry-run", action="store_true", help="Write no page.")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only)))
        return
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(Path(__file__).resolve()), "--only", str(size)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(text := page(rows))
    if not options.dry_run:
        PAGE.write_text(text, encoding="utf-8")


def page(rows: list[dict[str, float]]) -> str:
    """Writes the table, with the exponent of the growth from the last size but one to the last."""
    names = [name for name in STAGES if name in rows[0]]
    header = ["cells", *names, "peak MiB", "page MiB"]
    lines = [
        [f"{row['cells']:,.0f}", *(f"{row[name]:.2f}" for name in names), f"{row['memory']:,.0f}", f"{row['page']:.1f}"]
        for row in rows
    ]
    if len(rows) > 1:
        more = math.log(rows[-1]["cells"] / rows[-2]["cells"])
        grown = [math.log(rows[-1][name] / rows[-2][name]) / more for name in (*names, "memory", "page")]
        lines.append(["growth", *(f"{exponent:.2f}" for exponent in grown)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])
    what = "\n".join(f"* **{name}**: {STAGES[name]}" for name in names)
    machine = f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
    return (
        f"# Many cells\n\nMeasured {date.today()} with `python benchmarks/scale.py` on {machine}. Seconds of one core;"
        " results are made up, so nothing is trained. The last row is the exponent of growth between the two largest"
        f" sizes: 1 is linear.\n\n{table}\n\n{what}\n* **peak**: memory of one process that does all of it\n"
    )


if __name__ == "__main__":
    main()
