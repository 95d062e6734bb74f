"""Cells of an experiment in one file, to be taken to another machine."""

import io
import json
import os
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.files import read_json, sha256_of
from clce_bench.planning.cell_status import evaluation_of, states_of
from clce_bench.planning.measure_jobs import measure_records
from clce_bench.planning.plan import Plan
from clce_bench.planning.reruns import reruns_of
from clce_bench.planning.stages import UPSTREAM_STAGES
from clce_bench.records.environment import environment, now
from clce_bench.records.job_records import record_path
from clce_bench.results.stored_records import WEIGHTS

ENDING = ".tar.gz"
FORMAT = 2
"""Of archives; 1 had no measures."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Exported:
    """What an archive holds.

    Attributes:
        cells: how many.
        bytes: of the archive.
        absent: cells of the experiment that it does not have, by status.
    """

    cells: int
    bytes: int
    absent: dict[str, int]


def export_cells(plan: Plan, archive: Path, weights: bool) -> Exported:
    """Writes the finished cells of an experiment, with the records of what they were made from.

    Args:
        plan: the experiment.
        archive: the file to write; it must not exist.
        weights: include each cell's ``model.safetensors``, which nothing after training reads.

    Raises:
        UserError: the name does not fit, the file exists, no cell is finished, or a file is not as its record says.
    """
    if not archive.name.endswith(ENDING):
        raise UserError(f"{archive}: an archive's name ends with {ENDING}.")
    if archive.exists():
        raise UserError(f"{archive}: exists already; choose another name.")
    states = {name: state.status for name, state in states_of(reruns_of(plan)).items()}
    cells = [cell for cell in plan.cells if states[cell.name] in ("done", "diverged")]
    if not cells:
        raise UserError(f"{plan.experiment.name}: no cell is finished; clce-bench status says what each one is.")
    paths = [path for cell in cells for path in _files_of(cell, plan.measures_of(cell))]
    left_out = {} if weights else {path: expected for path, expected in paths if path.name == WEIGHTS}
    # Weights that did not come with an import cannot go on with an export either.
    left_out |= {path: expected for path, expected in paths if path.name == WEIGHTS and not path.exists()}
    checksums = {path: _checked(path, expected) for path, expected in paths if path not in left_out}
    checksums |= {path: sha256_of(path) for path in [*_descriptions(plan, cells), plan.folder / "experiment.json"]}
    manifest = {
        "format": FORMAT,
        "experiment": plan.experiment.name,
        "cells": len(cells),
        "written": now(),
        "environment": environment(),
        "left_out": {str(path): expected for path, expected in left_out.items()},
        "files": {str(path): {"sha256": found, "bytes": path.stat().st_size} for path, found in checksums.items()},
    }
    _write(archive, manifest)
    absent = Counter(state for state in states.values() if state not in ("done", "diverged"))
    return Exported(len(cells), archive.stat().st_size, dict(absent))


def _files_of(cell: Cell, measures: list[Path]) -> list[tuple[Path, str]]:
    """Lists a cell's files with the SHA-256 that its records give, empty for the records themselves."""
    record = read_json(cell.directory / "cell.json")
    files = {"cell.json": "", **record["outputs_sha256"]}
    if evaluation := evaluation_of(cell):
        files |= {"metrics.json": "", **evaluation["outputs_sha256"]}
    for path, measured in measure_records(cell.directory, map(record_path, measures)).items():
        files |= {path.name: "", **measured.outputs_sha256}
    return [(cell.directory / name, expected) for name, expected in files.items()]


def _checked(path: Path, expected: str) -> str:
    if not path.exists():
        raise UserError(f"{path}: is not there; nothing was exported. clce-bench verify says what to do.")
    found = sha256_of(path)
    if expected and found != expected:
        raise UserError(f"{path}: is not as its record says; nothing was exported. clce-bench verify says what to do.")
    return found


def _descriptions(plan: Plan, cells: list[Cell]) -> list[Path]:
    """Lists what describes that from which cells were made and on which they were measured: data, splits …"""
    keys = [cell.key for cell in cells]
    jobs = [plan.jobs[verb][key] for verb in ("train", "evaluate") for key in keys if key in plan.jobs[verb]]
    jobs += [plan.job(node) for cell in cells for node in plan.nodes_of(cell) if node.verb == "measure"]
    names = {*UPSTREAM_STAGES, "other"}
    paths = {Path(path) for job in jobs for name, path in job.inputs.items() if name in names}
    return sorted(path for path in paths if path.exists())


def _write(archive: Path, manifest: dict[str, Any]) -> None:
    """Writes the archive under a temporary name and renames it; the manifest is its first member."""
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        # Weights and embeddings hardly compress: the fastest level does as well.
        with tarfile.open(temporary, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
            text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
            first = tarfile.TarInfo(MANIFEST)
            first.size = len(text)
            tar.addfile(first, io.BytesIO(text))
            for name in manifest["files"]:
                tar.add(name, recursive=False, filter=_anonymous)
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
