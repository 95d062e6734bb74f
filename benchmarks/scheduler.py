"""Snakemake's own processor time for each job that it runs, for few and for thousands of jobs.

The jobs take no time: a script in place of ``clce-bench`` puts results there that were made up before. Run
``python benchmarks/scheduler.py``; it writes docs/benchmarks/scheduler.md. With ``--cells 100`` it only prints rows.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import yaml
from noop import experiment, make_up

from clce_bench.experiment.loading import load_experiment
from clce_bench.files import write_text
from clce_bench.planning.plan import plan_of
from clce_bench.records.environment import environment, now

ROOT = Path(__file__).parent.parent
SIZES = (100, 500, 2_500)
"""Cells whose jobs take no time."""
LASTING = 100
"""Cells whose jobs last: with and without Snakemake's limit of jobs per second, which the workflow turns off."""
SECONDS = 2
"""How long each of these takes."""
FEW, ALL = 100, 1_000_000
"""Among how many jobs that could start Snakemake chooses: as the profiles say, and as it would by itself."""
RESTORE = """#!/bin/sh
sleep ${SECONDS_OF_A_JOB:-0}
while [ "$1" != --output ]; do shift; done
case $2 in *.json) set -- "$1" "${2%/*}" evaluate ;; *) set -- "$1" "$2" train ;; esac
cp "made/$3/$2"/* "$2"
"""
"""Stands for ``clce-bench train`` and ``clce-bench evaluate``."""


def set_up(cells: int, folder: Path) -> None:
    """Makes results up and puts those of cells aside, by the verb that is to make them again."""
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment(cells)))
    plan = plan_of(load_experiment(path))
    make_up(plan)
    for cell in plan.cells:
        for file in sorted(cell.directory.iterdir()):
            verb = "evaluate" if file.name.startswith("metrics") else "train"
            aside = folder / "made" / verb / cell.directory
            aside.mkdir(parents=True, exist_ok=True)
            file.rename(aside / file.name)
        shutil.rmtree(cell.directory)
    (plan.folder / "report.html").unlink()  # So that the run ends without a headline table.
    script = folder / "bin" / "clce-bench"
    script.parent.mkdir()
    script.write_text(RESTORE)
    script.chmod(0o755)


def run_here(folder: Path, cores: int, limited: bool, among: int) -> None:
    """Runs the workflow in this process and prints the processor seconds that it took, its jobs' left out."""
    import snakemake.cli
    from snakemake.scheduling import job_scheduler
    from snakemake.settings.types import MaxJobsPerTimespan

    from clce_bench.scheduling import commands

    os.chdir(folder)
    prefix = commands.shell_prefix
    commands.shell_prefix = lambda *given: f"{prefix(*given)} export PATH={folder}/bin:$PATH; "
    if limited:
        start = job_scheduler.JobScheduler.__init__

        def with_limit(self: job_scheduler.JobScheduler, *given: object) -> None:
            start(self, *given)
            self.job_rate_limiter = job_scheduler.JobRateLimiter(MaxJobsPerTimespan.parse_choice("100/1s"))

        job_scheduler.JobScheduler.__init__ = with_limit
    arguments = (
        f"--snakefile {ROOT}/Snakefile --configfile experiment.yaml --cores {cores} --until evaluate --quiet all "
        f"--scheduler-subsample {among}"
    )
    try:
        snakemake.cli.main(arguments.split())
    except SystemExit as end:
        if end.code:
            raise
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(own.ru_utime + own.ru_stime)


def measure(cells: int, cores: int = 2, lasting: float = 0, limited: bool = False, among: int = FEW) -> str:
    """Returns a row of the table: Snakemake's processor seconds for so many cells, each trained and evaluated."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        set_up(cells, Path(name))
        os.chdir(before)
        command = [sys.executable, __file__, "--here", name, "--cores", str(cores), "--among", str(among)]
        command += ["--limited"] if limited else []
        given = {**os.environ, "SECONDS_OF_A_JOB": str(lasting)}
        done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taken = float(done.stdout.split()[-1])
    limit = "100/1s (default)" if limited else "none"
    settings = f"{lasting:g} | {cores} | {limit} | {'all' if among == ALL else among}"
    row = f"| {2 * cells:,} | {settings} | {taken:.1f} | {1000 * taken / (2 * cells):.0f} |"
    click.echo(row, err=True)
    return row


@click.command()
@click.option("--cells", "wanted", type=int, multiple=True, help="A multiple of 50; prints and writes nothing.")
@click.option("--here", type=click.Path(path_type=Path), hidden=True)
@click.option("--cores", default=2, hidden=True)
@click.option("--limited", is_flag=True, hidden=True)
@click.option("--among", default=FEW, hidden=True)
def main(wanted: tuple[int, ...], here: Path | None, cores: int, limited: bool, among: int) -> None:
    """Measures and writes the page."""
    if here:
        run_here(here, cores, limited, among)
        return
    if wanted:
        for cells in wanted:
            measure(cells)
        return
    head = (
        "jobs",
        "seconds each",
        "at once",
        "limit of jobs per second",
        "chosen among",
        "processor time (s)",
        "per job (ms)",
    )
    rows = [f"| {' | '.join(head)} |", f"|{' ---: |' * 3} --- |{' ---: |' * 3}"]
    rows += [measure(LASTING, 8, SECONDS, limited) for limited in (True, False)]
    rows += [measure(cells, among=among) for among in (ALL, FEW) for cells in SIZES]
    table = "\n".join(rows)
    machine = environment()
    page = f"""# Snakemake's own time

Processor time of the `snakemake` process, its jobs' left out, for a run in which every cell is trained and evaluated.
The jobs do nothing but wait and copy. Starting, reading the experiment and building the graph are included. The
workflow turns off the limit of jobs per second, and its profiles let Snakemake choose among {FEW} jobs that could start
(`scheduler-subsample`); by itself it looks at all of them whenever one ends.

{table}

{machine["cpu"]}, {machine["cores"]} cores, Python {machine["python"]}, {now()[:10]}. Measured by
`python benchmarks/scheduler.py`.
"""
    write_text(ROOT / "docs" / "benchmarks" / "scheduler.md", page)


if __name__ == "__main__":
    main()
