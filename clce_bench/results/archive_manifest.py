"""What an archive may hold: nothing that its manifest does not list, nothing that is not a result."""

import json
import re
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from clce_bench.data.archives import refused
from clce_bench.errors import UserError
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.strict_model import Name
from clce_bench.files import digest, sha256_of
from clce_bench.planning.measure_jobs import result_of
from clce_bench.planning.plan import RESULTS
from clce_bench.records.record_models import CellRecord, EvaluationRecord, JobRecord, MeasureResult, Time
from clce_bench.results.archive_content import check_arrays, check_history
from clce_bench.results.archive_export import FORMAT, MANIFEST
from clce_bench.results.stored_records import WEIGHTS

DESCRIPTIONS = {
    "data": "dataset.json",
    "splits": "splits.json",
    "labels": "dataset.json",
    "episodes": "episodes.json",
    "backbones": "backbone.json",
    "features": "features.json",
    "corruptions": "corruptions.json",
}
"""By folder, what says what cells were made from."""
_CELL = {"cell.json", "history.csv", "embeddings.npz", WEIGHTS, "metrics.json", "metrics.npz"}
_MEASURE = re.compile(r"measure-[A-Za-z0-9._-]{1,200}\.(json|npz)")


class _File(BaseModel):
    sha256: str
    bytes: int


class Manifest(BaseModel):
    """The list of an archive: its files, what was left out, and where they come from."""

    format: Literal[1, 2]
    experiment: Name
    written: Time
    environment: dict[str, Any]
    files: dict[str, _File]
    left_out: dict[str, str]

    @property
    def cells(self) -> list[str]:
        """The folders of its cells."""
        return sorted(str(PurePosixPath(name).parent) for name in self.files if name.endswith("/cell.json"))

    @property
    def settings(self) -> str:
        """The checked experiment."""
        return str(RESULTS / "experiments" / self.experiment / "experiment.json")


def read_manifest(archive: Path, unpacked: Path) -> Manifest:
    """Reads the manifest and checks that an archive has what it lists, nothing else, and as it lists it.

    Args:
        archive: the file, for messages.
        unpacked: the folder of its content.

    Raises:
        UserError: it is no archive of ours, or something in it is not what it should be.
    """
    if not (unpacked / MANIFEST).is_file():
        raise UserError(f"{archive}: has no {MANIFEST}, so it is not an archive of clce-bench export.")
    try:
        manifest = Manifest.model_validate_json((unpacked / MANIFEST).read_bytes())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        version = f"this version reads formats up to {FORMAT}"
        raise UserError(f"{archive}: {MANIFEST}: {where}: {error.errors()[0]['msg']}; {version}.") from None
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if not path.is_dir()} - {MANIFEST}
    for name in sorted({manifest.settings, *manifest.files} | there):
        if not _is_result(PurePosixPath(name)):
            raise refused(archive, name, "is not a file that results have")
        if name not in manifest.files:
            raise refused(archive, name, f"is not listed in {MANIFEST}")
        if name not in there or sha256_of(unpacked / name) != manifest.files[name].sha256:
            raise refused(archive, name, f"is missing or damaged: its SHA-256 is not that of {MANIFEST}")
    for name in manifest.cells:
        _check_cell(archive, unpacked / name, name, manifest)
    for name in manifest.files:
        try:
            _check_content(unpacked / name, manifest)
        except (ValueError, OSError) as error:
            raise refused(archive, name, f"is not what it should be: {error}") from None
    return manifest


def _check_content(path: Path, manifest: Manifest) -> None:
    """Checks a file by its kind.

    Raises:
        ValueError: it is another thing than its name says.
    """
    if path.name == "history.csv":
        check_history(path)
    elif path.suffix == ".npz":
        check_arrays(path)
    elif path.suffix == ".json":
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("no mapping")
        for name, value in content["metrics"].items() if path.name == "metrics.json" else ():
            if not isfinite(value):
                raise ValueError(f"{name!r} is {value}, no finite number")
        if path.name == "experiment.json":
            known = set(Experiment.model_fields) >= set(content)  # Its losses need not be here.
            if not known or content.get("name") != manifest.experiment or not isinstance(content.get("grids"), list):
                raise ValueError(f"not the experiment {manifest.experiment!r}")


def _is_result(path: PurePosixPath) -> bool:
    """Says whether this is where one of the files lies that archives have."""
    if path.is_absolute() or any(part.startswith(".") for part in path.parts) or len(path.parts) < 4:
        return False
    top, stage, *inner = path.parts
    if stage == "cells":
        known = path.name in _CELL or _MEASURE.fullmatch(path.name) is not None
        return top == RESULTS.name and known and len(inner) == 4
    if stage == "experiments":
        return top == RESULTS.name and path.name == "experiment.json" and len(inner) == 2
    return top == RESULTS.name and path.name == DESCRIPTIONS.get(stage)


def _check_cell(archive: Path, folder: Path, name: str, manifest: Manifest) -> None:
    """Checks that a cell's records are complete and fit its folder and its files."""
    metrics = folder / "metrics.json"
    try:
        record = CellRecord.model_validate_json((folder / "cell.json").read_bytes())
        measured = EvaluationRecord.model_validate_json(metrics.read_bytes()) if metrics.exists() else None
        measures = {
            path: JobRecord.model_validate_json(path.read_bytes()) for path in folder.glob("measure-*.job.json")
        }
        for result in map(result_of, measures):
            MeasureResult.model_validate_json(result.read_bytes() if result.exists() else b"")
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise refused(archive, name, f"has a record that is not one: {where}: {error.errors()[0]['msg']}") from None
    whole = {"history.csv", "embeddings.npz", WEIGHTS} <= record.outputs_sha256.keys()
    fits = whole and folder.name == record.name and folder.name.endswith(f"-{digest(record.job.spec)}")
    if not fits or (measured and measured.cell_sha256 != record.outputs_sha256):
        raise refused(archive, name, "has records that do not fit its folder or each other")
    if not all(_fits(one, result_of(path), record) for path, one in measures.items()):
        raise refused(archive, name, "has records of measures that do not fit its training or their files")
    expected = {**record.outputs_sha256, **(measured.outputs_sha256 if measured else {})}
    expected |= {file: checksum for one in measures.values() for file, checksum in one.outputs_sha256.items()}
    for file, checksum in expected.items():
        place = f"{name}/{file}"
        listed = manifest.files[place].sha256 if place in manifest.files else manifest.left_out.get(place)
        if checksum != listed or (place not in manifest.files and file != WEIGHTS):
            raise refused(archive, place, "is missing or is not the one that the cell's records name")
    for found in folder.iterdir():
        if found.name not in {"cell.json", "metrics.json", *expected, *(path.name for path in measures)}:
            raise refused(archive, f"{name}/{found.name}", "is not a file that the cell's records name")


def _fits(measure: JobRecord, result: Path, record: CellRecord) -> bool:
    """Says whether the record of a measure is of this training, and vouches for its own two files and no others."""
    own = {result.name, result.with_suffix(".npz").name}
    trained = digest(record.outputs_sha256, length=64)
    return measure.outputs_sha256.keys() == own and measure.inputs_sha256.get("cell") == trained
