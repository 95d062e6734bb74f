"""A cell that trains as an MLflow run, which the run of the finished cell replaces."""

from typing import Any

from mlflow.entities import Metric, RunTag

from clce_bench.tracking.cell_run import CellRun, milliseconds


def track_running(place: CellRun, journal: list[dict[str, Any]]) -> str:
    """Brings the run of a cell that trains up to date: a point per epoch, status RUNNING.

    Args:
        place: of the cell; the run of a training that has ended gives way.
        journal: what the cell has said so far.

    Returns:
        The id of the cell's run.
    """
    run = place.run
    if run is not None and run.data.tags.get("clce.status") != "running":
        place.client.delete_run(run.info.run_id)
        run = None
    if run is None:
        run = place.create(milliseconds(journal[0]["time"]), {"clce.status": "running"})
    known = int(run.data.tags.get("clce.epoch", 0))
    epochs = [line for line in journal if line.get("epoch", 0) > known]
    metrics = [
        Metric(key, line[key], milliseconds(line["time"]), line["epoch"])
        for line in epochs
        for key in ("loss", "validation")
    ]
    if epochs:  # Points and their count in one go: who follows may be killed between two.
        tags = [RunTag("clce.epoch", str(epochs[-1]["epoch"]))]
        place.client.log_batch(run.info.run_id, metrics=metrics, tags=tags)
    return str(run.info.run_id)
