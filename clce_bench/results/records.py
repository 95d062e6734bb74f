"""The records below ``results/``: small JSON files that vouch for the files beside them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clce_bench.errors import UserError
from clce_bench.jobs import RESULTS, Plan

RECORDS = {
    "data": "dataset.json",
    "splits": "splits.json",
    "episodes": "episodes.json",
    "backbones": "backbone.json",
    "features": "features.json",
    "cells": "cell.json",
}
"""By folder, the record that each result in it has; a cell has ``metrics.json`` too."""
LOCKS = Path(".snakemake/locks")
WEIGHTS = "model.safetensors"
"""The file of a cell that nothing after training reads."""
_FOLDERS = {"dataset": "data", "splits": "splits", "episodes": "episodes", "backbone": "backbones"}
_FOLDERS |= {"features": "features", "train": "cells"}


def stage_of(path: Path) -> str:
    """Names the folder of ``results/`` that a path lies in."""
    return path.relative_to(RESULTS).parts[0]


def results_of(plan: Plan) -> dict[Path, str]:
    """Lists the folders that an experiment's jobs fill, each with its verb; cells under ``train``."""
    return {RESULTS / folder / key: verb for verb, folder in _FOLDERS.items() for key in plan.jobs[verb]}


def records_in(folders: Iterable[Path]) -> Iterator[Path]:
    """Lists the records that are there in some of the folders of results."""
    for folder in folders:
        if (path := folder / RECORDS[stage_of(folder)]).exists():
            yield path


def all_records() -> Iterator[Path]:
    """Lists all records below ``results/``, of whatever experiment."""
    for folder, name in RECORDS.items():
        found = sorted((RESULTS / folder).rglob(name))
        # Hidden folders are what a job or an import has not finished.
        yield from (path for path in found if not any(part.startswith(".") for part in path.parts))


def vouched(record: dict[str, Any]) -> dict[str, str]:
    """Returns what a record vouches for: SHA-256 by the name of a file beside it."""
    checksums: dict[str, str] = record.get("outputs_sha256") or record.get("sha256") or {}
    return checksums


def refuse_if_running() -> None:
    """Makes sure that no Snakemake runs in this folder, whose jobs may need what is about to change.

    Raises:
        UserError: one runs, or was killed.
    """
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        unlock = "wait until it has ended; if it was killed: snakemake --unlock"
        raise UserError(f"{LOCKS}: Snakemake runs here and may need what would change; {unlock}.")
