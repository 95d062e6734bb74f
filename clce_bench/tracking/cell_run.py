"""A finished cell as an MLflow run: what its files say, and the model that they make."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as MLFLOW_NOTE

from clce_bench.experiment.cells import Cell
from clce_bench.files import digest, read_json, sha256_of
from clce_bench.planning.cell_status import evaluation_of
from clce_bench.planning.measure_jobs import measured_of
from clce_bench.tracking.logged_model import can_classify, write_model

COPIED = ("cell.json", "metrics.json", "metrics.npz", "history.csv")
REFERENCED = ("model.safetensors", "embeddings.npz")


@dataclass(frozen=True)
class CellRun:
    """A cell's place in the store.

    Attributes:
        client: of the store.
        experiment_id: where the run belongs.
        parent: the id of the experiment's own run.
        cell: the cell.
        name: of the run, for people.
        run: what there is of the cell, if anything.
    """

    client: MlflowClient
    experiment_id: str
    parent: str
    cell: Cell
    name: str
    run: Run | None

    def create(self, time: int, tags: dict[str, str], metrics: Sequence[Metric] = ()) -> Run:
        """Begins a run of the cell, with what it was asked for, as of a time in milliseconds since 1970."""
        own = {MLFLOW_PARENT_RUN_ID: self.parent, MLFLOW_RUN_NAME: self.name, "clce.cell": self.cell.name}
        run = self.client.create_run(self.experiment_id, start_time=time, tags=own | tags)
        params = [Param(key, str(value)) for key, value in _flat(self.cell.spec)]
        self.client.log_batch(run.info.run_id, metrics=metrics, params=params)
        return run


def track_cell(place: CellRun, measures: Sequence[Path] = ()) -> str:
    """Brings the run of a finished cell up to date.

    Args:
        place: of the cell.
        measures: results of its further measures.

    Returns:
        The id of the cell's run: the one that there is if it says what the files say, else a new one.
    """
    client, cell = place.client, place.cell
    copied = [*(cell.directory / name for name in COPIED), *measures, *(path.with_suffix(".npz") for path in measures)]
    copied = [path for path in copied if path.exists()]
    content = digest({path.name: sha256_of(path) for path in copied}, length=32)
    record = read_json(cell.directory / "cell.json")
    classifies = can_classify(cell, record)
    if classifies:
        content = digest([content, "model"], length=32)
    if place.run is not None:
        known = place.run.data.tags
        if known.get("clce.content") == content and known.get("clce.complete") == "yes":
            if known.get(MLFLOW_RUN_NAME) != place.name:  # Other cells vary in something else now.
                client.set_tag(place.run.info.run_id, MLFLOW_RUN_NAME, place.name)
            return str(place.run.info.run_id)
        client.delete_run(place.run.info.run_id)
    tags = {
        MLFLOW_NOTE: f"{place.name}. Its files are in `{cell.directory}`.",
        "clce.content": content,
        "clce.status": record["status"],
        "clce.code": record["job"]["code"],
        "clce.device": record["environment"]["gpu"] or record["environment"]["cpu"],
        "mlflow.source.git.commit": record["environment"]["git_commit"] or "unknown",
    }
    for path in (cell.directory / name for name in REFERENCED):
        if path.exists():
            reference = f"{path} sha256={record['outputs_sha256'].get(path.name)} bytes={path.stat().st_size}"
            tags[f"clce.artifact.{path.name}"] = reference
    start = milliseconds(record["started"])
    run_id = place.create(start, tags, _metrics(cell, record, measures)).info.run_id
    client.log_inputs(run_id, [_dataset_input(record)])
    with TemporaryDirectory(prefix="clce-run-") as folder:  # MLflow asks the database about the run at each call.
        for path in copied:
            shutil.copy(path, folder)
        if classifies:
            write_model(cell, record, Path(folder, "model"))
        client.log_artifacts(run_id, folder)
    ended = start + round(1000 * record["seconds"])
    status = "FINISHED" if record["status"] == "done" else "FAILED"
    client.set_terminated(run_id, status, ended)
    client.set_tag(run_id, "clce.complete", "yes")
    return str(run_id)


def _metrics(cell: Cell, record: dict[str, Any], measures: Sequence[Path]) -> list[Metric]:
    """Lists the history and the final metrics with the times at which they were measured."""
    metrics = []
    history = pd.read_csv(cell.directory / "history.csv")
    for row in history.to_dict("records"):
        time = milliseconds(row["time"])
        for name in ("loss", "learning_rate", "validation"):
            if math.isfinite(row[name]):
                metrics.append(Metric(name, row[name], time, row["epoch"]))
    start = milliseconds(record["started"])
    known = {name: record[name] for name in ("seconds", "peak_memory_mib") if record[name] is not None}
    metrics += [Metric(name, value, start, 0) for name, value in known.items()]
    for found in filter(None, (evaluation_of(cell), *measured_of(cell, measures))):
        time = milliseconds(found["started"])
        metrics += [Metric(f"test_{name}", value, time, 0) for name, value in found["metrics"].items()]
    return metrics


def _dataset_input(record: dict[str, Any]) -> DatasetInput:
    path = record["job"]["inputs"]["dataset"]
    checksum = record["inputs_sha256"]["dataset"][:36]
    dataset = MlflowDataset(record["job"]["spec"]["dataset"], checksum, "local", f'{{"uri": "{path}"}}')
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested dictionaries under their keys joined by dots."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def milliseconds(time: str) -> int:
    """Turns a time in ISO 8601 into milliseconds since 1970, as MLflow counts."""
    return round(1000 * datetime.fromisoformat(time).timestamp())
