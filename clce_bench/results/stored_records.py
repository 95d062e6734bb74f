"""Which records are below ``results/``."""

from collections.abc import Iterator
from pathlib import Path

from clce_bench.execution import finished_cells
from clce_bench.planning.plan import RESULTS, Plan
from clce_bench.planning.stages import UPSTREAM_STAGES
from clce_bench.records.job_records import record_path

FOLDERS = ("data", "splits", "labels", "episodes", "backbones", "features", "corruptions", "cells")
"""Folders of ``results/`` in which each result has a folder of its own."""
WEIGHTS = "model.safetensors"
"""The file of a cell that nothing after training reads."""


def folders_of(plan: Plan) -> set[Path]:
    """Lists the folders that an experiment's jobs fill, each for one result: data, splits …, cells."""
    return {Path(job.output).parent for verb in (*UPSTREAM_STAGES, "train") for job in plan.jobs[verb].values()}


def records_of(plan: Plan) -> list[Path]:
    """Lists the records that an experiment's jobs have left."""
    paths = {record_path(Path(job.output)) for jobs in plan.jobs.values() for job in jobs.values()}
    return sorted(path for path in paths if path.exists())


def all_records() -> Iterator[Path]:
    """Lists all records below ``results/``, of whatever experiment."""
    for folder in (*FOLDERS, "experiments"):
        found = (
            path
            for pattern in ("cell.json", "metrics.json", "*.job.json")
            for path in (RESULTS / folder).rglob(pattern)
        )
        # Hidden folders are what a job or an import has not finished, links a second name of what is listed anyway.
        yield from sorted(
            path
            for path in found
            if not any(part.startswith(".") or part == finished_cells.FOLDER for part in path.parts)
        )
