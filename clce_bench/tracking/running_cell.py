"""A cell that trains as an MLflow run, which the run of the finished cell replaces."""

from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from clce_bench.experiment.cells import Cell
from clce_bench.tracking.cell_run import flat, milliseconds


def track_running(
    client: MlflowClient,
    experiment_id: str,
    parent: str,
    cell: Cell,
    name: str,
    run: Run | None,
    journal: list[dict[str, Any]],
) -> str:
    """Brings the run of a cell that trains up to date: a point per epoch, status RUNNING.

    Args:
        client: of the store.
        experiment_id: where the run belongs.
        parent: the id of the experiment's own run.
        cell: one that is not finished.
        name: of the run, for people.
        run: what there is of the cell, if anything; one of a training that has ended gives way.
        journal: what the cell has said so far.

    Returns:
        The id of the cell's run.
    """
    if run is not None and run.data.tags.get("clce.status") != "running":
        client.delete_run(run.info.run_id)
        run = None
    if run is None:
        tags = {MLFLOW_PARENT_RUN_ID: parent, MLFLOW_RUN_NAME: name, "clce.cell": cell.name, "clce.status": "running"}
        run = client.create_run(experiment_id, start_time=milliseconds(journal[0]["time"]), tags=tags)
        client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in flat(cell.spec)])
    known = int(run.data.tags.get("clce.epoch", 0))
    epochs = [line for line in journal if line.get("epoch", 0) > known]
    metrics = [
        Metric(key, line[key], milliseconds(line["time"]), line["epoch"])
        for line in epochs
        for key in ("loss", "validation")
    ]
    if epochs:  # Points and their count in one go: who follows may be killed between two.
        client.log_batch(run.info.run_id, metrics=metrics, tags=[RunTag("clce.epoch", str(epochs[-1]["epoch"]))])
    return str(run.info.run_id)
