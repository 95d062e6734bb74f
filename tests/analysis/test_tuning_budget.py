"""The best of n trials in closed form, against all that can be drawn."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clce_bench.analysis.tuning_budget import by_budget, chances_of_best, expected_best, leaders
from clce_bench.experiment.figure_options import figure_of
from clce_bench.figures.render import _draw
from clce_bench.figures.source import Source
from tests.helpers.outcomes import make_cells, setting

values = st.lists(st.sampled_from([0.0, 41.5, 50.0, 50.5, 61.0]), min_size=1, max_size=7)


@given(values, st.randoms(use_true_random=False))
def test_the_expected_best_is_that_of_all_draws(validation, random):
    result = [random.uniform(0, 100) for _ in validation]
    for n, found, reached in zip(
        range(1, len(validation) + 1), expected_best(validation), expected_best(validation, result), strict=True
    ):
        draws = list(combinations(range(len(validation)), n))
        best = [max(validation[trial] for trial in draw) for draw in draws]
        assert found == pytest.approx(np.mean(best))
        # Over every order in which equals may be listed, the first of them is preferred alike often.
        fair = [
            np.mean([result[trial] for trial in range(len(validation)) if validation[trial] == value]) for value in best
        ]
        assert reached == pytest.approx(np.mean(fair))


def test_one_of_the_drawn_trials_is_the_best():
    np.testing.assert_allclose(chances_of_best(9).sum(axis=1), 1)
    np.testing.assert_allclose(chances_of_best(9)[0], 1 / 9)
    assert chances_of_best(9)[-1].tolist() == [0] * 8 + [1]


def trials(folder):
    """Of cross-entropy four alike; of CLCE one that is far better, one that diverged and one that has not run."""
    kinds = {("ce", rate): 0.6 + rate for rate in (0.01, 0.02, 0.03, 0.04)} | {
        ("clce", rate): value for rate, value in {0.01: 0.5, 0.02: 0.8, 0.03: 0.7, 0.04: 0.5}.items()
    }
    effects = {setting(loss=loss, **{"recipe.learning_rate": rate}): value for (loss, rate), value in kinds.items()}
    cells = make_cells(folder, effects, seeds=2)
    cells["validation"] += 0.01 * cells["seed"]
    clce = cells["loss"] == "clce"
    diverged = clce & (cells["recipe.learning_rate"] == 0.03) & (cells["seed"] == 1)
    cells.loc[diverged, "status"], cells.loc[diverged, ["validation", "metric.top1"]] = "diverged", np.nan
    cells.loc[clce & (cells["recipe.learning_rate"] == 0.04) & (cells["seed"] == 0), "validation"] = np.nan
    return cells


def test_budgets_are_of_trials_over_their_seeds(tmp_path):
    cells = trials(tmp_path)
    table = by_budget(cells, "metric.top1").set_index(["loss", "trials"])
    assert table["validation"].loc["ce"].tolist() == pytest.approx([63, 63.5 + 1 / 3, 64.25, 64.5])
    # Settings of CLCE that count reach 50.5, 80.5 and, diverged, nothing.
    assert table["validation"].loc["clce"].tolist() == pytest.approx([131 / 3, (50.5 + 2 * 80.5) / 3, 80.5])
    assert table["spread"].loc["clce"].iloc[-1] == pytest.approx(0, abs=1e-6)
    assert table["spread"].loc["clce"].iloc[0] == pytest.approx(np.std([0, 50.5, 80.5]))
    best = cells[(cells["loss"] == "clce") & (cells["recipe.learning_rate"] == 0.02)]
    assert table["test"].loc["clce"].iloc[-1] == pytest.approx(100 * best["metric.top1"].mean())
    assert "test" not in by_budget(cells, None)


def test_who_leads_is_said_for_each_number_of_trials(tmp_path):
    table = by_budget(trials(tmp_path), None)
    assert leaders(table, "validation") == "CE with 1, CLCE with 2 or more trials"
    ce = table[table["loss"] == "ce"]
    better = pd.concat([ce, ce.assign(loss="supcon", validation=99.0)])
    assert leaders(better, "validation") == "SupCon with any number of trials"


def test_trials_that_were_never_measured_are_drawn_by_their_validation(tmp_path):
    rows = trials(tmp_path).drop(columns="metric.top1")
    drawing = _draw(figure_of({"kind": "tuning_budget", "grid": "main"}), Source(rows, pd.DataFrame()))
    assert "Ahead: validation accuracy (%): CE with 1, CLCE with 2 or more trials. Trials have" in drawing.caption
    (axes,) = drawing.canvas.axes
    assert axes.lines[0].get_ydata().tolist() == by_budget(rows, None)["validation"][:4].tolist()
