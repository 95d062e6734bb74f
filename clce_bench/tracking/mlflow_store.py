"""The ``track`` stage: projects the results into an MLflow store.

Files are the truth. This stage is the only writer of the store; running it twice changes nothing, and running it on an
empty store restores everything. A cell's run is found by its tags and replaced when the cell's files have changed.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from filelock import FileLock
from jinja2 import Environment, StrictUndefined
from mlflow.entities import Metric, Run, RunTag
from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as MLFLOW_NOTE

from clce_bench.errors import UserError
from clce_bench.execution.run_lock import is_held
from clce_bench.experiment.schema import Experiment
from clce_bench.files import digest, sha256_of, write_json, write_text
from clce_bench.planning.cell_status import training_of
from clce_bench.planning.plan import Plan, plan_of
from clce_bench.planning.progress_journal import journal_of
from clce_bench.tracking.cell_run import CellRun, track_cell
from clce_bench.tracking.run_names import headline_metrics, run_names
from clce_bench.tracking.running_cell import track_running
from clce_bench.tracking.store_check import LOCAL, check_store

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where ``make ui`` shows a local store."""
SERVER_SECONDS = 20.0


def track_experiment(experiment: Experiment, output: Path | None) -> None:
    """Brings the store up to date: a parent run for the experiment, a nested run per cell that is finished or trains.

    Args:
        experiment: names the store in ``tracking.uri``.
        output: where to write how many runs were written and how many were up to date.
    """
    plan = plan_of(experiment)
    uri = store_uri(experiment)
    # A run that ends tracks too, while somebody follows it: one writes at a time.
    plan.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(plan.folder / ".track.lock"):
        counts = _project(experiment, plan, uri)
    print(f"{uri}: {counts['written']} runs written, {counts['cells'] - counts['written']} up to date", file=sys.stderr)
    if output:
        write_json(output, {"experiment": experiment.name, "uri": uri, **counts})


def follow(
    experiment: Experiment, output: Path | None, under_way: Callable[[], bool] = is_held, pause: float = 15.0
) -> None:
    """Keeps the store up to date for as long as a run is under way in the working directory, and once more after it.

    Whoever follows may end and begin again at any time: each look at the files catches up with all that came before.

    Args:
        experiment: as for :func:`track_experiment`.
        output: as for :func:`track_experiment`, written at the end.
        under_way: says whether the run goes on.
        pause: seconds between two looks.
    """
    while under_way():
        track_experiment(experiment, None)
        time.sleep(pause)
    track_experiment(experiment, output)


def _project(experiment: Experiment, plan: Plan, uri: str) -> dict[str, int]:
    """Writes what the store lacks; returns how many ``cells`` are finished, and how many runs were ``written``."""
    client = MlflowClient(tracking_uri=uri)
    experiment_id = _experiment_id(client, experiment.name, uri)
    names = run_names(plan.cells)
    client.set_experiment_tag(experiment_id, MLFLOW_NOTE, experiment.description)
    existing = {run.data.tags["clce.cell"]: run for run in _runs(client, experiment_id) if "clce.cell" in run.data.tags}
    parent = existing.get("experiment")
    if parent is None:
        what = f"{experiment.description}\n\nFigures, tables and report of the whole experiment; a nested run per cell."
        tags = {"clce.cell": "experiment", MLFLOW_RUN_NAME: experiment.name, MLFLOW_NOTE: what}
        parent = client.create_run(experiment_id, tags=tags)
    places = [
        CellRun(client, experiment_id, parent.info.run_id, cell, names[cell.name], existing.get(cell.name))
        for cell in plan.cells
    ]
    finished = {place.cell.name: place for place in places if training_of(place.cell)}
    runs = {name: track_cell(place, plan.measures_of(place.cell)) for name, place in finished.items()}
    written = len(set(runs.values()) - {run.info.run_id for run in existing.values()})
    for place in places:
        if place.cell.name not in finished and (journal := journal_of(place.cell)):
            runs[place.cell.name] = track_running(place, journal)
    for name in existing.keys() - runs.keys() - {"experiment"}:
        client.delete_run(existing[name].info.run_id)  # The experiment does not have this cell any more.
    _track_parent(client, parent, plan)
    _write_index(plan.folder / "runs.html", experiment.name, uri, experiment_id, runs)
    return {"cells": len(finished), "written": written}


def store_uri(experiment: Experiment) -> str:
    """Returns the store's address; the path of a local database made absolute, its folder made.

    Raises:
        UserError: it is that of a server, and none answers; or a file that is no store, is locked, or too old or new.
    """
    uri = experiment.tracking.uri
    if uri.startswith("http"):
        _check_server(uri)
    if not uri.startswith(LOCAL):
        return uri
    check_store(uri)
    database = Path(uri.removeprefix(LOCAL)).absolute()
    if not database.exists():
        _create(database)
    return f"{LOCAL}{database}"


def _create(database: Path) -> None:
    """Makes an empty store elsewhere and puts it in its place when it is whole.

    A process that is killed meanwhile leaves nothing that the next one would take for a store.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    beside = database.with_name(f".{database.name}.{os.getpid()}")
    with TemporaryDirectory(prefix="clce-mlflow-") as folder:
        made = Path(folder, "mlflow.db")
        engine = create_sqlalchemy_engine(f"{LOCAL}{made}")  # type: ignore[no-untyped-call]
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        engine.dispose()
        shutil.copy(made, beside)
    beside.replace(database)


def _check_server(uri: str) -> None:
    """Finds out whether there is a server at all, which MLflow itself would try again and again for minutes."""
    try:
        requests.get(uri, timeout=SERVER_SECONDS)
    except requests.RequestException as error:
        raise UserError(f"tracking.uri: {uri}: no MLflow server answers ({type(error).__name__}).") from None


def _experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    # A store on this machine keeps its artifacts beside the database; a server decides for itself.
    folder = str(Path(uri.removeprefix(LOCAL)).parent / "artifacts" / name) if uri.startswith(LOCAL) else None
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        if folder is None or found.artifact_location == folder:
            return str(found.experiment_id)
        # The store was moved or copied here, and its runs point to where it was: write them anew.
        client.rename_experiment(found.experiment_id, f"{name}, moved from {found.artifact_location}")
        client.delete_experiment(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=folder))


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _write_index(path: Path, name: str, uri: str, experiment_id: str, runs: dict[str, str]) -> None:
    """Writes a page with a place per cell, from which the report's links continue to the run."""
    remote = uri.startswith("http")
    template = (resources.files("clce_bench.tracking") / "index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    server, how = (uri.rstrip("/"), uri) if remote else (LOCAL_SERVER, "make ui")
    write_text(path, page.render(name=name, server=server, how=how, experiment_id=experiment_id, runs=runs))


def _track_parent(client: MlflowClient, parent: Run, plan: Plan) -> None:
    names = ("experiment.json", "summary.csv", "summary.parquet", "verdicts.json", "report.html", "tuning.csv")
    files = (
        [plan.folder / name for name in names]
        + sorted(plan.folder.glob("figures/*"))
        + sorted(plan.folder.glob("tables/*"))
    )
    present = [path for path in files if path.exists()]
    content = digest({path.name: sha256_of(path) for path in present}, length=32)
    if parent.data.tags.get("clce.content") == content:
        return
    for path in present:
        folder = path.parent.name if path.parent != plan.folder else None
        client.log_artifact(parent.info.run_id, str(path), folder)
    now = round(1000 * datetime.now().timestamp())
    headline = headline_metrics(plan.folder, plan.experiment.headline_grid.name)
    metrics = [Metric(name, value, now, 0) for name, value in headline.items()]
    client.log_batch(parent.info.run_id, metrics=metrics, tags=[RunTag("clce.content", content)])
    client.set_terminated(parent.info.run_id)
