"""Jobs of what grids ask for beyond the evaluation that all cells have: one per cell and measure."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clce_bench.components.registry import load_dataset, measure_path
from clce_bench.experiment.cells import Cell, dataset_directory
from clce_bench.experiment.schema import Experiment
from clce_bench.files import digest, read_stored
from clce_bench.planning.job import RESULTS, Job, Node
from clce_bench.planning.stages import BACKBONE, DATASET, SPLITS, CorruptImages, Subject
from clce_bench.records.job_records import read_record, record_path
from clce_bench.records.record_models import CellRecord, JobRecord

CORRUPTIONS = CorruptImages()


def measure_jobs(experiment: Experiment, grids: Mapping[str, list[Cell]], jobs: Mapping[Node, Job]) -> dict[Node, Job]:
    """Lists the jobs of all measures, and those that make what only they read.

    Args:
        experiment: its grids name the measures.
        grids: cells by grid, all of which are evaluated.
        jobs: of these cells.
    """
    found: dict[Node, Job] = {}
    for grid in (grid for grid in experiment.grids if grid.measures):
        for cell in grids.get(grid.name, []):
            for measure in grid.measures:
                found |= _jobs(experiment, cell, measure, jobs)
    return found


def _jobs(experiment: Experiment, cell: Cell, measure: str, jobs: Mapping[Node, Job]) -> dict[Node, Job]:
    kind, _, dataset = measure.partition(":")
    key = cell.key
    read = {**jobs[Node("evaluate", key)].inputs, "backbone": jobs[Node("train", key)].inputs["backbone"]}
    read.pop("episodes", None)
    upstream: dict[str, str] = {}
    found: dict[Node, Job] = {}
    if dataset:
        other = Subject(cell, load_dataset(dataset), experiment.options_of(dataset))
        prepared = DATASET.job(other, {})
        found[Node("dataset", DATASET.key(other))] = prepared
        read["other"], upstream = prepared.output, {"dataset": prepared.code}
    if kind == "corruptions":
        own = Subject(cell, load_dataset(cell.dataset), experiment.options_of(cell.dataset))
        made = {stage.name: jobs[Node(stage.name, stage.key(own))] for stage in (DATASET, SPLITS, BACKBONE)}
        corrupted = CORRUPTIONS.job(own, made)
        found[Node("corruptions", CORRUPTIONS.key(own))] = corrupted
        read["corruptions"], upstream = corrupted.output, {"corruptions": corrupted.code}
        if not cell.has_classifier:  # Then its probe classifies.
            read["metrics"] = jobs[Node("evaluate", key)].output
    name = f"{key}/measure-{kind}{f'-{dataset_directory(dataset)}' if dataset else ''}"
    output = str(RESULTS / "cells" / f"{name}.json")
    job = Job("measure", {"measure": measure}, read, (measure_path(measure),), upstream, output)
    return {**found, Node("measure", name): job}


def measured_of(cell: Cell, paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Reads what measures have found of a cell as it is trained now: ``metrics``, ``absent``, ``started``, ``seconds``.

    Args:
        cell: the cell.
        paths: the results of its measures.
    """
    for record in measure_records(cell.directory, map(record_path, paths)):
        if content := read_stored(result_of(record)):
            yield content


def measure_records(directory: Path, records: Iterable[Path]) -> dict[Path, JobRecord]:
    """Reads the records of measures of a cell as it is trained now; those of another training are left out.

    Args:
        directory: of the cell.
        records: the paths of the records, of which some may not be there.
    """
    found = {path: record for path in records if (record := read_record(path))}
    training = read_record(directory / "cell.json") if found else None
    if not isinstance(training, CellRecord):
        return {}
    trained = digest(training.outputs_sha256, length=64)
    return {path: record for path, record in found.items() if record.inputs_sha256.get("cell") == trained}


def result_of(record: Path) -> Path:
    """Returns the result of the measure that left a record."""
    return record.with_name(f"{record.name.removesuffix('.job.json')}.json")
