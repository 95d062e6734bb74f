"""Seeds in rounds: what is added because of which verdict, what stops, and that only finished cells decide that."""

import json
from pathlib import Path

import numpy as np
import pytest

from clce_bench.analysis.decisions import decide
from clce_bench.analysis.intervals import Interval
from clce_bench.analysis.power import Spread, seeds_can_decide
from clce_bench.analysis.rounds import judge_in_rounds
from clce_bench.analysis.spending import levels
from clce_bench.analysis.summary import summary_table
from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.seed_rounds import SeedRounds
from clce_bench.files import read_json
from clce_bench.planning.plan import load_plan, plan_of
from clce_bench.results.pruning import leftovers
from tests.helpers.made_up import fill, write_all
from tests.helpers.outcomes import make_cells, setting

SEED = {"first": 3, "step": 2, "most": 8}


def above(loss, **changes):
    sides = {"first": {"loss": loss}, "second": {"loss": "ce"}, "metric": "top1"}
    return {"id": f"{loss}-above-ce", "statement": "It is.", "paper": "P", "place": "here", **sides, **changes}


CLAIMS = (above("clce"), above("supcon"))


def experiment_of(seed=SEED, loss=("ce", "supcon", "clce"), claims=CLAIMS, **grid):
    given = {"name": "main", "dataset": "digits", "loss": list(loss), "lambda": 0.9, "seed": seed, **grid}
    return parse_experiment({"name": "made-up", "grids": [given], "claims": list(claims)}, "made-up.yaml")


def written(experiment):
    path = Path("made-up.json")
    path.write_text(experiment.model_dump_json(by_alias=True))
    return path


# Points above cross-entropy, seed by seed: SupCon's first seeds say nothing, later ones agree.
GAINS = {"ce": [0] * 8, "clce": [5.0, 5.1, 4.9] * 3, "supcon": [-3, 7, 2, 2.1, 2, 1.9, 2, 2]}


def train(plan, gains=GAINS):
    """Writes what the next run would, with these accuracies; says which cells that were."""
    new = [cell for cell in plan.cells if not (cell.directory / "cell.json").exists()]
    plan.prepare()
    fill(plan, new)
    for cell in new:
        path = cell.directory / "metrics.json"
        record = json.loads(path.read_text())
        record["metrics"]["top1"] = 0.8 + gains[cell.loss_name][cell.seed] / 100
        path.write_text(json.dumps(record))
    return sorted((cell.loss_name, cell.seed) for cell in new)


def look(path):
    """Looks at the claims; says whether more runs must follow."""
    status = command_status(["rounds", "--experiment", str(path)])
    assert status in (0, 1)
    return status == 1


def run_all(path, gains=GAINS):
    """Does what ``make reproduce`` does; returns what each run trained."""
    trained = []
    while look(path):
        trained.append(train(load_plan(path), gains))
        assert trained[-1], "a round that adds nothing would never end"
    return trained


@pytest.fixture(scope="module")
def all_rounds(tmp_path_factory):
    """An experiment that ran to its end once for all tests, and what each of its runs trained."""
    folder = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        path = written(experiment_of())
        return folder / path, run_all(path)


@pytest.fixture
def ended(all_rounds, monkeypatch):
    """The same, from its folder: the file and what each run trained."""
    path, trained = all_rounds
    monkeypatch.chdir(path.parent)
    return Path(path.name), trained


def test_only_what_undecided_claims_compare_gets_more_seeds_until_it_is_decided(ended):
    path, (first, *later) = ended
    assert first == [(loss, seed) for loss in ("ce", "clce", "supcon") for seed in range(3)]
    assert later[0] == [("ce", 3), ("ce", 4), ("supcon", 3), ("supcon", 4)]
    assert {loss for run in later for loss, _ in run} == {"ce", "supcon"}
    plan = load_plan(path)
    assert not plan.deciding
    assert len(plan.cells) == len(first) + sum(map(len, later))
    assert train(plan) == []  # What was trained is never trained again.
    assert plan.targets[0].endswith("report.html")
    assert len(plan.whole.cells) == 3 * 8


def test_while_rounds_are_open_a_run_is_for_the_cells_alone():
    plan = plan_of(experiment_of())
    assert plan.deciding
    assert sorted(plan.targets) == sorted(job.output for job in plan.jobs["evaluate"].values())
    assert not plan.jobs["summarize"]
    assert not plan.jobs["report"]


def test_each_look_spends_its_part_and_the_verdict_is_that_of_the_look_that_decided(ended):
    plan = load_plan(ended[0])
    page = write_all(plan.experiment, plan)
    verdicts = {one["claim"]: one for one in read_json(plan.folder / "verdicts.json")}
    shares = levels(0.025, [3, 5, 7, 8])
    clce, supcon = verdicts["clce-above-ce"], verdicts["supcon-above-ce"]
    assert (clce["verdict"], clce["look"], clce["seeds"]) == ("reproduced", 1, 3)
    assert clce["alpha"] == pytest.approx(shares[0])
    assert supcon["look"] > 1
    assert supcon["alpha"] == pytest.approx(shares[supcon["look"] - 1])
    assert supcon["seeds"] == [3, 5, 7, 8][supcon["look"] - 1]
    assert f"{len(plan.cells)} of at most\n24 cells were asked for" in page


def test_the_record_says_why_and_is_made_again_from_the_cells(ended):
    path, _ = ended
    record = load_plan(path).folder / "rounds.json"
    before = record.read_text()
    looks = json.loads(before)["looks"]
    assert [(one["look"], one["claim"], bool(one["added"])) for one in looks[:3]] == [
        (1, "clce-above-ce", False),
        (1, "supcon-above-ce", True),
        (2, "supcon-above-ce", looks[2]["added"] != []),
    ]
    assert looks[0]["ends"] == "decided"
    assert {cell for one in looks for cell in one["added"]} == set(json.loads(before)["cells"])
    record.unlink()
    assert load_plan(path).deciding
    assert leftovers([path]) == []  # Cells of later rounds are nobody's leftovers, record or not.
    assert not look(path)
    assert record.read_text() == before


def test_raising_most_adds_rounds_and_keeps_what_is_there():
    noisy = {**GAINS, "clce": [-3, 4, -2, 5, -4, 3, -3, 4], "supcon": [0.0, 0.1, -0.1] * 3}
    short = {"first": 3, "step": 2, "most": 5}
    path = written(experiment_of(short))
    assert len(run_all(path, noisy)) == 2
    assert len(load_plan(path).cells) == 3 * 3 + 2 * 2
    path = written(experiment_of(SEED))
    added = run_all(path, noisy)
    assert [run for run in added if ("clce", 0) in run or ("clce", 4) in run] == []
    assert {seed for run in added for loss, seed in run if loss == "clce"} == {5, 6, 7}


def test_unfinished_cells_are_waited_for():
    experiment = experiment_of()
    plan = plan_of(experiment)
    train(plan)
    (plan.cells[0].directory / "metrics.json").unlink()
    found = judge_in_rounds(experiment, summary_table(plan.whole))
    assert found.asked.open
    assert not found.asked.cells
    assert all("not all cells have run" in verdict.reason for verdict in found.verdicts)


def test_a_round_adds_whole_seeds_over_all_parts_that_test():
    experiment = parse_experiment(
        {
            "name": "made-up",
            "datasets": {"digits": {"split": {"test_folds": 2}}},
            "grids": [{"name": "a", "dataset": "digits", "loss": ["ce", "clce"], "seed": SEED, "test_fold": [0, 1]}],
            "claims": [above("clce")],
        },
        "made-up.yaml",
    )
    path, noisy = written(experiment), {**GAINS, "clce": [-3, 4, -2, 5, -4, 3, -3, 4]}
    first, second, *_ = run_all(path, noisy)
    assert len(first) == 2 * 2 * 3
    assert second == sorted([("ce", 3), ("ce", 4), ("clce", 3), ("clce", 4)] * 2)


def limited_cells(folder, experiment, units):
    """Cells whose differences are the same at every seed, up to little, and differ much from image to image."""
    rng = np.random.default_rng(4)
    rows = make_cells(folder, {setting(loss="ce"): 0.7, setting(loss="clce"): 0.7}, seeds=8, units=units, noise=0.0)
    place = 0.5 * rng.normal(size=units)
    for row in rows.itertuples():
        values = 0.7 + (row.loss == "clce") * place + 0.01 * rng.normal(size=units)
        np.savez(f"{row.directory}/metrics.npz", **{"outcome.top1": values, "unit.top1": np.arange(units)})
    return rows.assign(split_seed=0)


def test_a_claim_that_no_number_of_seeds_can_decide_stops_at_once_and_says_so(tmp_path):
    experiment = experiment_of(loss=("ce", "clce"), claims=[above("clce")])
    found = judge_in_rounds(experiment, limited_cells(tmp_path / "few", experiment, 400))
    (verdict,) = found.verdicts
    assert (verdict.verdict, verdict.look, found.asked.cells) == ("undecided", 1, frozenset())
    assert "no number of seeds can decide it, since test images are the limit" in verdict.reason


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("units", "unit"), [(100, 60.0), (1000, 60.0), (250, 400.0)])
def test_the_limit_is_that_of_endless_seeds(alpha, units, unit):
    # With seeds that agree, what is left is the interval over images: decide() on it is the reference.
    from scipy.stats import t

    spread = Spread(10_000, units, 1e-9, unit, 1e-9)
    for effect in np.linspace(-4, 4, 33):
        ends = [(unit / units) ** 0.5 * t.isf(tail, units - 1) for tail in (alpha / 2, alpha)]
        outer, inner = (Interval(effect, effect - half, effect + half, 3, 0.5) for half in ends)
        expected = decide(outer, inner, 1.0) != "undecided"
        assert seeds_can_decide(spread, effect, 1.0, 0.0, alpha) == expected


def test_without_the_key_claims_are_judged_once_at_their_whole_share(tmp_path):
    experiment = experiment_of(seed=[0, 1, 2], loss=("ce", "clce"), claims=[above("clce")])
    rows = make_cells(tmp_path, {setting(loss="ce"): 0.7, setting(loss="clce"): 0.72})
    found = judge_in_rounds(experiment, rows)
    (claim,) = experiment.claims
    assert found.verdicts == [claim.judge(rows, 0.05)]
    assert (found.looks, found.asked.open, found.verdicts[0].look) == ([], False, None)
    plan = plan_of(experiment)
    assert plan.whole is plan
    assert not plan.deciding


def test_rounds_end_at_most_where_step_does_not_meet_it():
    assert SeedRounds(first=3, step=2, most=8).counts == [3, 5, 7, 8]
    assert SeedRounds(first=3, step=4, most=11).counts == [3, 7, 11]


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ({"first": 2, "step": 2, "most": 9}, "grids[0].seed.first: 2 is not allowed"),
        ({"first": 3, "step": 0, "most": 9}, "grids[0].seed.step: 0 is not allowed"),
        ({"first": 3, "step": 2, "most": 3}, "most: 3 is not allowed. Allowed: more than first, which is 3."),
        ({"first": 3, "step": 2}, "grids[0].seed.most: this key is required."),
        ({"first": 3, "steps": 2, "most": 9}, "'steps' is not a key. Did you mean 'step'?"),
        ([], "grids[0].seed: [] is not allowed"),
        (-1, "grids[0].seed: -1 is not allowed"),
        ("many", "grids[0].seed: 'many' is not allowed"),
    ],
)
def test_bad_values_are_named(seed, message):
    with pytest.raises(UserError) as caught:
        experiment_of(seed)
    assert message in str(caught.value)


def test_grids_share_their_rounds_and_searches_have_none():
    grid = {"dataset": "digits", "loss": ["ce", "clce"]}
    other = {"first": 4, "step": 2, "most": 8}
    values = {"name": "x", "grids": [{"name": "a", "seed": SEED, **grid}, {"name": "b", "seed": other, **grid}]}
    with pytest.raises(UserError, match="grids: b: seed: first=4 step=2 most=8 is not allowed. Allowed: first=3"):
        plan_of(parse_experiment(values, "x.yaml"))
    tuning = {"trials": 2, "space": {"ce": {"recipe.learning_rate": [0.1, 0.2]}}}
    values["grids"] = [{"name": "a", "seed": SEED, "dataset": "digits", "loss": "ce", "tuning": tuning}]
    with pytest.raises(UserError, match="a grid that searches has a list of seeds"):
        plan_of(parse_experiment(values, "x.yaml"))
