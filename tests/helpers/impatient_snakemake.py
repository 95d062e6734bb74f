"""Snakemake that asks Slurm every two seconds how its jobs are; the executor itself asks ever less often."""

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda _: 2, lambda _, __: None)

if __name__ == "__main__":
    main()
