"""Runs that are under way, as MLflow sees them while somebody follows."""

import json
import subprocess
import sys

from mlflow.tracking import MlflowClient

from clce_bench.execution.run_lock import is_held
from clce_bench.planning.progress_journal import JOURNAL
from clce_bench.tracking.mlflow_store import follow, store_uri
from tests.helpers.made_up import make_up

GRIDS = [{"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0]}]


def runs(experiment):
    client = MlflowClient(store_uri(experiment))
    found = client.search_runs([client.get_experiment_by_name(experiment.name).experiment_id])
    return client, {run.data.tags["clce.cell"]: run for run in found}


def line(epoch):
    values = {"time": f"2026-01-01T00:00:0{epoch}.000+00:00", "step": epoch, "steps": 9, "loss": 3 / epoch}
    return json.dumps({**values, "epoch": epoch, "epochs": 9, "validation": 0.1 * epoch, "seconds_left": 1.0}) + "\n"


def test_a_cell_that_trains_is_a_running_run_until_it_is_finished():
    experiment, plan = make_up(grids=GRIDS, figures=[])
    cell = next(cell for cell in plan.cells if cell.contrastive_weight)
    record = (cell.directory / "cell.json").read_text()
    (cell.directory / "cell.json").unlink()
    journal = cell.directory / JOURNAL
    journal.parent.mkdir()
    within = json.dumps(
        {"time": "2026-01-01T00:00:03.500+00:00", "step": 4, "steps": 9, "loss": 0.7, "seconds_left": 1}
    )
    seen = []

    def look():
        client, found = runs(experiment)
        run = found[cell.name]
        history = client.get_metric_history(run.info.run_id, "validation")
        points = [(point.step, round(point.value, 6), point.timestamp % 10_000) for point in history]
        seen.append((run.info.status, run.info.run_id, points))

    def stages():
        journal.write_text(line(1) + line(2))
        yield True
        look()
        # Nothing new; then an epoch, a line within one, and the beginning of a line.
        yield True
        look()
        journal.write_text(line(1) + line(2) + line(3) + within + "\n" + line(4)[:20])
        yield True
        look()
        (cell.directory / "cell.json").write_text(record)
        journal.unlink()
        yield False

    progress = stages()
    follow(experiment, None, under_way=lambda: next(progress), pause=0)
    look()
    assert [status for status, _, _ in seen] == ["RUNNING"] * 3 + ["FINISHED"]
    assert seen[0][1] == seen[1][1] == seen[2][1] != seen[3][1]
    first_two = [(1, 0.1, 1000), (2, 0.2, 2000)]
    assert [points for _, _, points in seen[:3]] == [first_two, first_two, [*first_two, (3, 0.3, 3000)]]
    _, found = runs(experiment)
    assert set(found) == {"experiment", *(cell.name for cell in plan.cells)}
    assert {found[name].info.status for name in found} == {"FINISHED"}


def test_the_run_of_a_cell_that_went_silent_is_taken_away():
    experiment, plan = make_up(grids=GRIDS, figures=[])
    cell = plan.cells[0]
    (cell.directory / "cell.json").unlink()
    journal = cell.directory / JOURNAL
    journal.parent.mkdir()
    journal.write_text(line(1))
    going_on = iter([True, False])

    def under_way():
        under = next(going_on)
        if not under:
            assert runs(experiment)[1][cell.name].info.status == "RUNNING"
            journal.unlink()
        return under

    follow(experiment, None, under_way=under_way, pause=0)
    assert cell.name not in runs(experiment)[1]


def test_a_folder_is_held_as_long_as_its_run_lives():
    assert not is_held()
    code = "from clce_bench.execution.run_lock import hold_folder; hold_folder(); print('held', flush=True); input()"
    run = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "held\n"
    assert is_held()
    run.kill()
    run.wait()
    assert not is_held()
