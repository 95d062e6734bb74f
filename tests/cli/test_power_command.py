"""What ``power`` says of experiments with and without results."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import yaml

from clce_bench.analysis import power_report
from clce_bench.analysis.power import smallest_visible, spread_of
from clce_bench.analysis.power_report import DEFAULT, visible_of
from clce_bench.cli import command_status
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.outcomes import make_cells, setting

GRID = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1, 2, 3]}
CLAIMS = [{"id": "clce-above-ce", "grids": "main", "primary": True}, "schane-above-ce", "tcl-positive-gradient"]


def plan(**changes):
    return plan_of(parse_experiment({"name": "x", "grids": [{**GRID, **changes}], "claims": CLAIMS}, "x.yaml"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_before_anything_ran_defaults_are_stated():
    (found,) = visible_of(plan(), difference=1.0)
    assert (found.claim, found.seeds, found.source) == ("clce-above-ce", 4, "defaults")
    assert found.alpha == 0.025
    assert found.setting == "digits, batch 64: CLCE − CE, test top-1 (%)"
    assert found.smallest == pytest.approx(smallest_visible(DEFAULT._replace(seeds=4), 0.025))
    assert found.seeds_needed > 4
    (few,) = visible_of(plan(seed=[0, 1]))
    assert (few.seeds, few.smallest) == (2, None)


def test_finished_cells_speak_for_themselves_and_for_what_is_still_to_run(tmp_path, monkeypatch):
    cells = make_cells(tmp_path / "cells", {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72}, seeds=4)
    monkeypatch.setattr(power_report, "summary_table", lambda plan: cells)
    (found,) = visible_of(plan(), difference=0.01)
    assert (found.source, found.units) == ("its own cells", 80)
    values = {
        (row.loss, row.seed): np.load(f"{row.directory}/metrics.npz")["outcome.top1"] for row in cells.itertuples()
    }
    table = 100 * np.stack([values["clce", seed] - values["ce", seed] for seed in range(4)])
    from clce_bench.analysis.contrasts import Contrast

    spread = spread_of(Contrast({0: table}, {0: table[:, :1]}, None, 0.4, 1, ()))
    assert found.smallest == pytest.approx(smallest_visible(spread, 0.025), rel=1e-3)
    # Another data set has no cells of its own.
    more = make_cells(tmp_path / "more", {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72}, seeds=4)
    more = more.assign(dataset="openmoji", **{"metric.top1": np.nan})
    monkeypatch.setattr(power_report, "summary_table", lambda plan: cells.merge(more, how="outer"))
    assert [one.source for one in visible_of(plan())] == ["its own cells", "other comparisons of this experiment"]


def test_without_results_the_nearest_experiment_at_hand_speaks(tmp_path):
    cells = make_cells(tmp_path / "cells", {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72}, seeds=4)
    for name, dataset in (("far", "openmoji"), ("near", "digits")):
        folder = tmp_path / "results/experiments" / name
        folder.mkdir(parents=True)
        cells.assign(dataset=dataset).to_parquet(folder / "summary.parquet")
    (found,) = visible_of(plan())
    assert (found.source, found.units) == ("the experiment near", 80)


@pytest.mark.parametrize("other", ["damaged", "of other code", "without losses to compare"])
def test_an_experiment_that_says_nothing_is_passed_over(tmp_path, other):
    folder = tmp_path / "results/experiments/other"
    folder.mkdir(parents=True)
    cells = make_cells(tmp_path / "cells", {setting(loss="ce"): 0.7}, seeds=4)
    (cells.drop(columns="test_fold") if other == "of other code" else cells).to_parquet(folder / "summary.parquet")
    if other == "damaged":
        (folder / "summary.parquet").write_bytes(b"PAR1 and nothing else")
    assert [one.source for one in visible_of(plan())] == ["defaults"]


def test_nothing_is_compared_where_cross_entropy_is_alone():
    assert visible_of(plan_of(parse_experiment({"name": "x", "grids": [{**GRID, "loss": "ce"}]}, "x.yaml"))) == []


def test_plan_says_what_each_claim_can_show(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"name": "x", "grids": [GRID], "claims": CLAIMS}))
    assert command_status(["plan", "--no-cost", "--experiment", "x.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "clce-above-ce" in line]
    (found,) = visible_of(plan())
    assert [cell.strip() for cell in line.split("│")[2:5]] == ["1", "0.025", f"{found.smallest:.1f}"]
    assert len(line) <= 80
    assert command_status(["plan", "--no-cost", "--json", "--experiment", "x.yaml"]) == 0
    assert json.loads(capsys.readouterr().out)["visible"] == [asdict(found)]


def test_the_verb_prints_a_table_and_json(tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"name": "x", "grids": [GRID], "claims": CLAIMS}))
    assert command_status(["power", "--experiment", "x.yaml", "--difference", "0.01"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("clce-above-ce", "points", "defaults", "limit"))
    assert command_status(["power", "--experiment", "x.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [asdict(one) for one in visible_of(plan())]
    assert command_status(["power", "--experiment", "x.yaml", "--difference", "-1"]) == 2
