"""What is below ``results/`` although no experiment file asks for it."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clce_bench.errors import UserError
from clce_bench.execution import finished_cells
from clce_bench.execution.run_lock import refuse_if_held
from clce_bench.files import read_json
from clce_bench.planning.plan import RESULTS, Plan, load_plan
from clce_bench.records.job_records import code_file, read_record, record_path
from clce_bench.results.stored_records import FOLDERS, folders_of

_PRUNED = (*FOLDERS, "code", "logs", "experiments", "imports")
"""Folders of ``results/`` whose content is the benchmark's own; what is beside them is left alone."""
_STAGES = {
    "data": "data set",
    "splits": "split",
    "labels": "set of labels",
    "episodes": "set of episodes",
    "backbones": "backbone",
    "features": "set of features",
    "corruptions": "set of corrupted images",
    "cells": "cell",
    "code": "state of the code",
    "logs": "log",
    "experiments": "experiment",
    "imports": "import",
}


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that no experiment file asks for.

    Attributes:
        path: relative to the working directory.
        why: in words.
        bytes: of the file, or of all files in the folder.
    """

    path: Path
    why: str
    bytes: int


def default_experiments() -> list[Path]:
    """Lists the experiment files of the working directory: ``config.yaml`` and those in ``experiments/``."""
    return [Path("config.yaml"), *sorted(Path("experiments").glob("*.yaml"))]


def leftovers(experiments: Iterable[Path]) -> list[Leftover]:
    """Lists what none of the experiments asks for, sorted by path.

    Args:
        experiments: their files.

    Raises:
        UserError: one of them cannot be read, or its trials must choose again, so that nobody knows what it asks for.
    """
    plans = [load_plan(path).whole for path in experiments]
    for plan in plans:
        if plan.deciding and (plan.folder / "tuning.json").exists():
            why = "its trials have changed and must choose again before anybody knows which cells it asks for"
            raise UserError(f"{plan.experiment.name}: {why}. Run it first.")
    kept = {path for plan in plans for path in _kept(plan)}
    kept |= {path for path in (RESULTS / "imports").glob("*.json") if _is_of_use(path, kept)}
    above = {parent for path in kept for parent in path.parents}
    found = [path for name in _PRUNED for path in _unasked(RESULTS / name, kept, above)]
    cells = {cell.directory for plan in plans for cell in plan.cells}
    found += [path for cell in cells for path in _inside(cell)]
    return [Leftover(path, _why(path, kept), _size(path)) for path in sorted(found)]


def remove(found: Iterable[Leftover]) -> None:
    """Removes what :func:`leftovers` lists; of a link the link itself, never what it leads to.

    Raises:
        UserError: Snakemake runs in this folder.
    """
    refuse_if_held()
    for leftover in found:
        parent = leftover.path.parent
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink()
        while parent != RESULTS and parent.parent != RESULTS and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _kept(plan: Plan) -> Iterator[Path]:
    """Lists the files and folders that an experiment asks for."""
    yield from folders_of(plan)
    for verb, jobs in plan.jobs.items():
        for key, job in jobs.items():
            yield code_file(verb, job.code)
            if record := read_record(record_path(Path(job.output))):  # What status compares with the code of now.
                yield code_file(verb, record.job.code)
            name = f"{plan.experiment.name}-{key}" if verb == "figures" else key
            yield RESULTS / "logs" / verb / f"{name}.log"
    drawn = plan.folder / "figures"
    if not drawn.is_dir():
        yield plan.folder
        return
    yield from (path for path in plan.folder.iterdir() if path != drawn)
    yield from (path for path in drawn.iterdir() if path.name.partition(".")[0] in plan.jobs["figures"])


def _is_of_use(manifest: Path, kept: set[Path]) -> bool:
    """Says whether any cell that came with an import is still asked for."""
    return any(Path(name).parent in kept for name in read_json(manifest)["files"])


def _unasked(path: Path, kept: set[Path], above: set[Path]) -> Iterator[Path]:
    """Lists the topmost files and folders in ``path`` that contain nothing that is kept."""
    if path.is_symlink() or not path.is_dir():
        return
    for child in path.iterdir():
        if child in above and not child.is_symlink():
            yield from _unasked(child, kept, above)
        elif child not in kept and child not in above:
            yield child


def _inside(cell: Path) -> Iterator[Path]:
    """Lists what a cell does not need any more once it is finished."""
    linked = cell.resolve() != RESULTS.resolve() / cell.relative_to(RESULTS)
    if (cell / "cell.json").exists() and not linked:
        names = ("checkpoints", "failure.txt", finished_cells.FOLDER)
        yield from (path for name in names if (path := cell / name).exists())


def _why(path: Path, kept: set[Path]) -> str:
    stage = path.relative_to(RESULTS).parts[0]
    if path.parent in kept:
        return "left over from training, which has finished"
    if path.name.startswith("."):
        return "left over from a run that was killed"
    if stage == "experiments" and path.parent.name == "figures":
        return "its experiment does not draw this figure any more"
    return f"no experiment file asks for this {_STAGES[stage]}"


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(_size(child) for child in path.iterdir())
