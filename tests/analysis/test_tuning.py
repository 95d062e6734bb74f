"""Searches give every loss the same, choose by validation alone, and are part of what runs and what does not."""

import csv
import json
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from clce_bench.analysis.rankings import ranks_of, ranks_text
from clce_bench.analysis.tuning_choice import Trial, best
from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.experiment.search_space import Tuning
from clce_bench.experiment.search_trials import trials_of
from clce_bench.files import read_json
from clce_bench.planning.plan import plan_of
from clce_bench.results.pruning import leftovers
from tests.helpers.made_up import fill, leave_out_pictures, make_up, write_all
from tests.helpers.miniature import ROOT, jobs_of, snakemake
from tests.helpers.outcomes import make_cells, setting

RATE = {"low": 1e-4, "high": 1e-1, "log": True}
SPACE = {
    "ce": {"recipe.learning_rate": RATE},
    "clce": {"recipe.learning_rate": RATE, "temperature": [0.1, 0.5], "lambda": {"low": 0.2, "high": 0.9}},
}
TRIALS = {"name": "trials", "dataset": "digits", "loss": ["ce", "clce"], "seed": 100, "fold": [0, 1]}
TRIALS["tuning"] = {"trials": 4, "space": SPACE}
FRESH = {"dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1, 2]}
GRIDS = [TRIALS, {**FRESH, "name": "default"}, {**FRESH, "name": "tuned", "tuned_by": "trials"}]
FIGURES = [{"kind": "rank_change", "grid": ["default", "tuned"]}]


def parse(*grids, **keys):
    return parse_experiment({"name": "made-up", "grids": [*grids], **keys}, "tuned.yaml")


def test_every_loss_gets_as_many_trials_of_its_own_settings():
    cells = cells_of(parse(*GRIDS))["trials"]
    assert len(cells) == 2 * 4 * 2
    found = {}
    for cell in cells:
        settings = (cell.recipe.learning_rate, cell.loss.hyperparameters.get("temperature"), cell.contrastive_weight)
        found.setdefault(cell.loss.name, set()).add(settings)
    assert {loss: len(settings) for loss, settings in found.items()} == {"ce": 4, "clce": 4}
    assert all(1e-4 <= rate <= 1e-1 for settings in found.values() for rate, _, _ in settings)
    assert {temperature for _, temperature, _ in found["clce"]} <= {0.1, 0.5}
    assert all(0.2 <= weight <= 0.9 for _, _, weight in found["clce"])
    assert {weight for _, _, weight in found["ce"]} == {0}


def test_trials_are_the_same_every_time_and_one_more_leaves_the_others_alone():
    def settings(trials, loss="clce", **keys):
        return trials_of(Tuning.model_validate({"trials": trials, "space": SPACE, **keys}), loss)

    assert settings(5) == settings(5)
    assert settings(9)[:5] == settings(5)
    assert settings(5, seed=1) != settings(5)
    backwards = {loss: dict(reversed(space.items())) for loss, space in SPACE.items()}
    assert settings(5, space=backwards) == settings(5)
    # Losses are searched independently of one another; a logarithmic range is covered evenly.
    assert [one["recipe.learning_rate"] for one in settings(5, "ce")] != [
        one["recipe.learning_rate"] for one in settings(5)
    ]
    rates = np.log10([one["recipe.learning_rate"] for one in settings(64)])
    assert np.histogram(rates, bins=16, range=(-4, -1))[0].tolist() == [4] * 16


@pytest.mark.filterwarnings("error")
def test_augmentations_that_are_written_out_are_searched_as_named_ones_are():
    def trials(choices):
        space = {"ce": {"recipe.augmentation": choices}}
        found = trials_of(Tuning.model_validate({"trials": 8, "space": space}), "ce")
        return [choices.index(one["recipe.augmentation"]) for one in found]

    assert trials([{"hue": 0.1}, {"preset": "simclr", "backend": "tensor"}]) == trials(["crop-flip", "simclr"])
    assert set(trials([{"hue": 0.1}, "simclr"])) == {0, 1}


def test_until_trials_decide_there_is_nothing_else_to_do():
    plan = plan_of(parse(*GRIDS, figures=FIGURES))
    assert plan.deciding
    assert plan.targets == ["results/experiments/made-up/tuning.json"]
    assert set(plan.grids) == {"trials"}
    assert len(plan.jobs["train"]) == len(plan.cells) == 16
    assert plan.jobs["figures"] == {}


def test_trials_are_never_measured_on_the_test_part():
    plan = plan_of(parse(*GRIDS))
    assert plan.jobs["evaluate"] == {}
    assert all(path.endswith("cell.json") for path in plan.jobs["tune"]["made-up"].inputs.values())


def choose(plan):
    assert command_status(["tune", "--experiment", str(plan.folder / "experiment.json")]) == 0


def tuned_results(**changes):
    """Writes trials of which the third of each loss is the best, chooses, and writes the cells that use the choice."""
    experiment, plan = make_up(grids=GRIDS, figures=FIGURES, **changes)
    order = {}
    for loss in ("ce", "clce"):
        for number, settings in enumerate(trials_of(experiment.grids[0].tuning, loss)):
            order[loss, settings["recipe.learning_rate"]] = number
    for cell in plan.cells:
        np.savez(cell.directory / "embeddings.npz", features="unreadable")
        number = order[cell.loss.name, cell.recipe.learning_rate]
        history = pd.read_csv(cell.directory / "history.csv")
        history["validation"] = [0.9, 0.9, 0.5 + 0.1 * (number == 2) + 0.01 * cell.split.fold]
        history.to_csv(cell.directory / "history.csv", index=False)
    choose(plan)
    return experiment, plan


def test_validation_after_the_last_epoch_chooses_and_the_test_part_is_not_read():
    experiment, trials = tuned_results()
    expected = {loss: trials_of(experiment.grids[0].tuning, loss)[2] for loss in ("ce", "clce")}
    plan = plan_of(experiment)
    assert not plan.deciding
    for cell in plan.grids["tuned"]:
        settings = expected[cell.loss.name]
        assert cell.recipe.learning_rate == settings["recipe.learning_rate"]
        assert cell.contrastive_weight == settings.get("lambda", 0)
        assert cell.loss.hyperparameters.get("temperature") == settings.get("temperature")
    assert len(plan.grids["tuned"]) == len(plan.grids["default"]) == 6
    assert set(plan.jobs["evaluate"]) == {key for key in plan.jobs["train"] if "_s100-" not in key}
    with (trials.folder / "tuning.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert [(row["loss"], row["number"]) for row in rows if row["chosen"] == "True"] == [("ce", "2"), ("clce", "2")]
    study = optuna.load_study(study_name="trials: clce", storage=f"sqlite:///{trials.folder.absolute()}/tuning.db")
    assert study.best_params == expected["clce"]
    assert study.best_value == pytest.approx(0.605)


def test_another_search_or_other_trials_decide_anew_and_an_equal_choice_gives_equal_cells():
    experiment, _ = tuned_results()
    tuned = [cell.name for cell in plan_of(experiment).grids["tuned"]]
    more = {**TRIALS, "tuning": {**TRIALS["tuning"], "trials": 5}}
    longer = parse(more, *GRIDS[1:])
    plan = plan_of(longer)
    assert plan.deciding
    Path("longer.json").write_text(longer.model_dump_json(by_alias=True))
    with pytest.raises(UserError, match="its trials have changed and must choose again"):
        leftovers([Path("longer.json")])
    new = [cell for cell in plan.cells if not (cell.directory / "cell.json").exists()]
    assert len(new) == 2 * 2  # One more trial of each loss, in two folds.
    fill(plan, new)
    plan.prepare()
    choose(plan)
    assert [cell.name for cell in plan_of(longer).grids["tuned"]] == tuned
    assert plan_of(experiment).deciding


def trial(loss, number, validation):
    return Trial("trials", loss, number, {}, validation, 2)


def test_a_trial_that_diverged_never_wins_and_the_earlier_of_equals_does():
    found = best([trial("ce", 0, 0.5), trial("ce", 1, float("nan")), trial("ce", 2, 0.6), trial("ce", 3, 0.6)])
    assert [one.number for one in found] == [2]
    with pytest.raises(UserError, match="all 1 trials of tcl diverged"):
        best([trial("tcl", 0, float("nan"))])


def changed(base, **changes):
    return [{**grid, **changes} if grid["name"] == base else grid for grid in GRIDS]


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (changed("tuned", tuned_by="trails"), "tuned_by: 'trails' is not a grid that searches. Did you mean 'trials'?"),
        (changed("tuned", loss=["ce", "tcl"]), "grids: tuned: loss: trials does not search settings of tcl"),
        (changed("tuned", seed=[0, 100]), "seed: 100 is not allowed: trials has it: its runs chose the settings"),
        (changed("tuned", recipe={"learning_rate": 1}), "recipe.learning_rate: trials searches it"),
        (changed("trials", hazards="test-selection"), "hazards: a grid that searches has none"),
        (changed("trials", batch_size=[16, 64]), "batch_size: a grid that searches has one"),
        (changed("trials", loss=["ce", "clce", "tcl"]), "tcl has nothing to search; every loss of the grid needs that"),
        (changed("trials", recipe={"learning_rate": 1}), "ce.recipe.learning_rate: the grid also gives it a value"),
        (changed("trials", recipe={"warmup": [0, 0.1]}), "recipe.warmup: a list is not allowed here; search it"),
        (changed("trials", tuning={"trials": 4, "space": {"ce": {"temperature": [1]}}}), "'temperature' is not a key"),
        (changed("trials", tuning={"trials": 4, "space": {"ce": {"recipe.epoch": [1]}}}), "Did you mean 'epochs'?"),
        (changed("trials", tuning={"trials": 4, "space": {"clce": {"beta": {"low": 1}}}}), "low and high are needed"),
        (changed("trials", tuning={"trials": 4, "space": {"clce": {"beta": {"low": -1, "high": 1}}}}), "beta: -1"),
        (changed("trials", tuning={"trials": 4, "space": {"clce": {"lambda": [0, 0.5]}}}), "between 0 and 1"),
        (changed("trials", tuning={"trials": 1, "space": SPACE}), "grids[0].tuning.trials: 1 is not allowed"),
    ],
)
def test_an_unfair_or_unclear_search_is_refused_before_anything_runs(grids, message):
    with pytest.raises(UserError) as caught:
        plan_of(parse(*grids))
    assert message in str(caught.value)


def test_report_shows_what_tuning_changes(monkeypatch):
    leave_out_pictures(monkeypatch)
    experiment, _ = tuned_results()
    plan = plan_of(experiment)
    plan.prepare()
    fill(plan, [cell for cell in plan.cells if cell.seed != 100])
    page = write_all(experiment, plan)
    assert "rank_change-default-tuned" in page
    assert "tuning.csv" in page
    assert page.count("missing") == 0
    assert "the least n = 3" in page  # Not the trials' single seed.
    table = pd.read_csv(plan.folder / "tables/rank_change-default-tuned.csv")
    assert table["loss"].tolist() == ["CLCE", "CE"]
    chosen = read_json(plan.folder / "tuning.json")["trials"]["clce"]["settings"]
    assert f"learning rate {chosen['recipe.learning_rate']:g}" in table["settings after"][0]


def test_ranks_compare_each_loss_with_itself_in_pairs(tmp_path):
    losses = {setting(loss=loss): accuracy for loss, accuracy in (("ce", 0.7), ("clce", 0.72), ("tcl", 0.68))}
    before = make_cells(tmp_path / "before", losses, seeds=4, noise=0.01, grids="default")
    after = make_cells(tmp_path / "after", {**losses, setting(loss="tcl"): 0.78}, seeds=4, noise=0.02, grids="tuned")
    rows = pd.concat([before, after.assign(cell="t" + after["cell"])], ignore_index=True)
    table = ranks_of(rows, ["default", "tuned"], "metric.top1").set_index("loss")
    assert table["before_rank"].to_dict() == {"clce": 1, "ce": 2, "tcl": 3}
    assert table["after_rank"].to_dict() == {"tcl": 1, "clce": 2, "ce": 3}
    one, other = (side[side["loss"] == "tcl"].sort_values("seed")["metric.top1"].to_numpy() for side in (before, after))
    assert table.loc["tcl", "change"] == pytest.approx(100 * (other - one).mean())
    assert table.loc["tcl", "change_low"] > 5
    assert ranks_text(table.reset_index())["rank after"].tolist() == ["1", "2", "3"]


def test_the_shipped_search_runs_its_trials_first_and_then_what_they_chose(tmp_path):
    experiment = ROOT / "experiments" / "tuned.yaml"
    first = snakemake(tmp_path, "-n", experiment=str(experiment))
    assert first.returncode == 0, first.stderr
    counts = jobs_of(first.stdout + first.stderr)
    assert (counts["train"], counts["tune"]) == (5 * 10 * 2, 1)
    assert not {"evaluate", "summarize", "report"} & set(counts)
    loaded = load_experiment(experiment)
    losses = {loss.name: trials_of(loaded.grids[0].tuning, loss.name)[0] for loss in loaded.grids[0].loss}
    choices = {loss: {"settings": settings} for loss, settings in losses.items()}
    folder = tmp_path / "results/experiments/tuned"
    (folder / "tuning.json").write_text(json.dumps({"trials": choices}))
    (folder / "tuning.job.json").write_text(json.dumps({"job": plan_of(loaded).jobs["tune"]["tuned"].definition}))
    second = snakemake(tmp_path, "-n", experiment=str(experiment))
    counts = jobs_of(second.stdout + second.stderr)
    assert (counts["train"], counts["evaluate"], counts["report"]) == (100 + 2 * 5 * 5, 2 * 5 * 5, 1)
