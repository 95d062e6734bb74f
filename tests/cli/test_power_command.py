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
from tests.helpers.outcomes import make_cells, setting

GRID = {"name": "main", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1, 2, 3]}
CLAIMS = [{"id": "clce-above-ce", "grids": "main", "primary": True}, "schane-above-ce", "tcl-positive-gradient"]


def experiment(**changes):
    return parse_experiment({"name": "x", "grids": [{**GRID, **changes}], "claims": CLAIMS}, "x.yaml")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_before_anything_ran_defaults_are_stated():
    (found,) = visible_of(experiment(), difference=1.0)
    assert (found.claim, found.seeds, found.source) == ("clce-above-ce", 4, "defaults")
    assert found.alpha == 0.025
    assert found.setting == "digits, batch 64: CLCE − CE, test top-1 (%)"
    assert found.smallest == pytest.approx(smallest_visible(DEFAULT._replace(seeds=4), 0.025))
    assert found.seeds_needed > 4
    (few,) = visible_of(experiment(seed=[0, 1]))
    assert (few.seeds, few.smallest) == (2, None)


def test_finished_cells_speak_for_themselves_and_for_what_is_still_to_run(tmp_path, monkeypatch):
    cells = make_cells(tmp_path / "cells", {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72}, seeds=4)
    monkeypatch.setattr(power_report, "summary_table", lambda plan: cells)
    (found,) = visible_of(experiment(), difference=0.01)
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
    assert [one.source for one in visible_of(experiment())] == ["its own cells", "other comparisons of this experiment"]


def test_without_results_the_nearest_experiment_at_hand_speaks(tmp_path):
    cells = make_cells(tmp_path / "cells", {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72}, seeds=4)
    for name, dataset in (("far", "openmoji"), ("near", "digits")):
        folder = tmp_path / "results/experiments" / name
        folder.mkdir(parents=True)
        cells.assign(dataset=dataset).to_parquet(folder / "summary.parquet")
    (found,) = visible_of(experiment())
    assert (found.source, found.units) == ("the experiment near", 80)


def test_the_verb_prints_a_table_and_json(tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"name": "x", "grids": [GRID], "claims": CLAIMS}))
    assert command_status(["power", "--experiment", "x.yaml", "--difference", "0.01"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("clce-above-ce", "points", "defaults", "limit"))
    assert command_status(["power", "--experiment", "x.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [asdict(one) for one in visible_of(experiment())]
    assert command_status(["power", "--experiment", "x.yaml", "--difference", "-1"]) == 2
