from collections import Counter
from itertools import product

import pytest

from clce_bench.analysis.paired_outcomes import RUN
from clce_bench.analysis.summary_rows import PLACE
from clce_bench.errors import UserError
from clce_bench.experiment.cells import LossSpec, union
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT

GRID = {"name": "main", "dataset": "digits", "loss": "clce"}
TAKING_TURNS = {"datasets": {"digits": {"split": {"test_folds": 4}}}}


def message(**changes):
    with pytest.raises(UserError) as caught:
        plan_of(parse_experiment({"name": "test", "grids": [GRID], **changes}, "config.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recipe": {"epoch": 3}}, "config.yaml: recipe: 'epoch' is not a key. Did you mean 'epochs'?"),
        ({"grid": []}, "config.yaml: 'grid' is not a key. Did you mean 'grids'?"),
        ({"grids": [GRID, {**GRID, "name": "b", "loss": "schanne"}]}, "config.yaml: grids[1].loss: 'schanne' is not a"),
        (
            {"grids": [{**GRID, "loss": ["ce", "tlc"]}]},
            "Did you mean 'tcl'? Losses: barlow-twins, byol, ce, clce, dcl, hcl, moco, none, "
            "ntxent, schane, simsiam, sincere, supcon, tcl, "
            "vicreg, or",
        ),
        ({"grids": [{**GRID, "lambda": [0, 1.5]}]}, "config.yaml: grids[0].lambda[1]: 1.5 is not allowed."),
        ({"grids": [{**GRID, "lambda": "half"}]}, "config.yaml: grids[0].lambda: 'half' is not allowed."),
        ({"grids": [{**GRID, "dataset": "digit"}]}, "'digit' is not a data set. Did you mean 'digits'?"),
        ({"grids": [{**GRID, "batch_size": 5000}]}, "batch_size: 5000 is not allowed. Allowed: at most 1076"),
        ({"grids": [{**GRID, "batch_size": 1}]}, "grids[0].batch_size: 1 is not allowed."),
        ({"grids": [{**GRID, "recipe": {"epochs": 0}}]}, "grids[0].recipe.epochs: 0 is not allowed."),
        ({"losses": {"clce": {"temprature": 1}}}, "'temprature' is not a key of 'clce'. Did you mean 'temperature'?"),
        (
            {"losses": {"clce": {"temperature": -1}}},
            "temperature: -1.0 is not allowed. Allowed: a finite number of at least",
        ),
        ({"losses": {"ce": {"temperature": 1}}}, "'temperature' is not a key of 'ce'."),
        ({"losses": {"tcl": {"k1": "many"}}}, "k1: 'many' is not allowed."),
        ({"grids": [{**GRID, "loss": "no_such_package.loss:Mine"}]}, "no_such_package.loss: there is no such Python"),
        ({"grids": [{**GRID, "loss": "clce_bench.losses.tcl:TLC"}]}, "'TLC' is not a class in"),
        ({"backbone": {"weights": "missing.pth"}}, "backbone.weights: missing.pth: there is no such file. Allowed:"),
        ({"backbone": {"freeze": "blocks", "cached_views": 1}}, "recipe.views: 2 is not allowed. Allowed: at most"),
        ({"figures": [{"kind": "lambda_curve", "grid": "mian"}]}, "'mian' is not a grid. Did you mean 'main'?"),
        (
            {"datasets": {"digits": {"split": {"fold": 5}}}},
            "datasets.digits.split: fold: 5 is not allowed. Allowed: 0 to 4",
        ),
        ({"grids": [{**GRID, "fold": [0, 7]}]}, "grids: main: digits: fold: 7 is not allowed. Allowed: 0 to 4."),
        ({"grids": [{**GRID, "test_fold": 1}]}, "grids: main: digits: test_fold: 1 is not allowed without test_folds"),
        (
            {"datasets": {"digits": {"split": {"class_fold": 0}}}},
            "datasets.digits.split: class_fold: 0 is not allowed without class_folds, the number of parts.",
        ),
        (
            {**TAKING_TURNS, "grids": [{**GRID, "test_fold": [0, 4]}]},
            "grids: main: digits: test_fold: 4 is not allowed. Allowed: 0 to 3.",
        ),
        (
            {"datasets": {"digits": {"split": {"test_folds": 4, "test": 0.25}}}},
            "datasets.digits.split: test: 0.25 is not allowed with test_folds, of which each part tests once.",
        ),
        (
            {"datasets": {"digits": {"split": {"test_folds": 4, "class_folds": 4}}}},
            "datasets.digits.split: test_folds, class_folds: only one is allowed: images are divided, or classes.",
        ),
        ({"datasets": {"digits": {"split": {"test_folds": 1}}}}, "datasets.digits.split.test_folds: 1 is not allowed."),
        (
            {"datasets": {"digits": {"split": {"class_folds": 4}}}},
            "datasets.digits.split.class_folds: not allowed. Allowed: test_folds: images are divided here.",
        ),
        (
            {
                "datasets": {"openmoji-fs": {"split": {"test_folds": 4}}},
                "grids": [{**GRID, "dataset": "openmoji-fs"}],
            },
            "datasets.openmoji-fs.split.test_folds: not allowed. Allowed: class_folds: classes are divided here.",
        ),
        (
            {**TAKING_TURNS, "grids": [{**GRID, "hazards": "leaky-split"}]},
            "grids: main: hazards: leaky-split is not allowed with test_folds: every image is tested.",
        ),
        (
            {"recipe": {"head": {"norm": "batch"}}, "runtime": {"micro_batch": 8}},
            "recipe.head.norm: 'batch' is not allowed with runtime.micro_batch or several runtime.processes",
        ),
        (
            {"recipe": {"batch_norm": "batch"}, "runtime": {"processes": 2}},
            "recipe.batch_norm: 'batch' is not allowed with runtime.micro_batch or several runtime.processes",
        ),
        (
            {"runtime": {"processes": 3}},
            "runtime.processes: 3 is not allowed. Allowed: numbers by which batch_size, 64, can be divided.",
        ),
        (
            {"runtime": {"processes": 16}, "grids": [{**GRID, "hazards": "per-process-negatives"}]},
            "runtime.processes: 16 is not allowed. Allowed with per-process-negatives: numbers by which 8 can be",
        ),
        (
            {"runtime": {"processes": 2, "micro_batch": "auto"}},
            "runtime.micro_batch: 'auto' is not allowed with several runtime.processes. Allowed: a number.",
        ),
        ({"name": "No blanks"}, "config.yaml: name: 'No blanks' is not allowed."),
        ({"grids": []}, "config.yaml: grids: [] is not allowed."),
    ],
)
def test_a_mistake_gets_one_clear_message(changes, expected):
    assert expected in message(**changes)


def test_micro_batches_are_refused_only_where_a_batch_has_statistics():
    """At λ = 0 there is no projection head, and what trains nothing has no batches."""
    grid = {**GRID, "loss": ["ce", "none"], "recipe": {"head": {"norm": "batch"}}}
    assert plan_of(parse_experiment({"name": "test", "grids": [grid], "runtime": {"micro_batch": 8}}, "")).cells
    grid = {**GRID, "loss": "none", "recipe": {"batch_norm": "batch"}}
    assert plan_of(parse_experiment({"name": "test", "grids": [grid], "runtime": {"micro_batch": 8}}, "")).cells


def test_every_mistake_is_reported_at_once():
    text = message(recipe={"epoch": 3}, backbone={"nam": "x"})
    assert text.count("\n") == 1


def test_files_that_are_not_experiments(tmp_path):
    for content, expected in (("[1, 2]", "is a mapping of keys"), ("a: [", "not YAML"), ("", "is a mapping of keys")):
        path = tmp_path / "bad.yaml"
        path.write_text(content)
        with pytest.raises(UserError, match=expected):
            load_experiment(path)
    with pytest.raises(UserError, match="there is no such experiment file"):
        load_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted((ROOT / "experiments").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_every_shipped_experiment_is_valid(path):
    experiment = load_experiment(path)
    plan = plan_of(experiment)
    assert plan.cells
    # Differences have no baseline, and their figure is empty, where cross-entropy has several settings. Without cells a
    # search has yet to choose.
    for figure in (figure for figure in experiment.figures if figure.kind == "differences"):
        cells = union({grid: plan.grids.get(grid, []) for grid in figure.grid})
        axes = [cell.axes for cell in cells if cell.loss_name == "ce"]
        runs = Counter(tuple(str(own[axis]) for axis in (*PLACE, *RUN)) for own in axes)
        assert min(runs.values(), default=1) == 1


def test_default_experiment_has_what_it_promises():
    plan = plan_of(load_experiment(ROOT / "config.yaml"))
    assert len(plan.cells) >= 60
    assert {cell.seed for cell in plan.grids["headline"]} == {0, 1, 2, 3, 4}
    runs = {(cell.loss.name, cell.split.test_fold, cell.seed) for cell in plan.grids["headline"]}
    assert runs == set(product(("none", "ce", "supcon", "clce"), range(4), range(5)))
    assert {cell.loss.name for cell in plan.grids["losses"]} == {"ce", "supcon", "schane", "clce", "tcl"}
    assert {cell.split.class_fold for cell in plan.grids["few-shot"]} == set(range(4))


def test_sweeps_have_what_they_promise():
    plan = plan_of(load_experiment(ROOT / "experiments/sweeps.yaml"))
    along = [cell for name, members in plan.grids.items() if name.startswith("lambda") for cell in members]
    assert {cell.contrastive_weight for cell in along} == {0, 0.1, 0.3, 0.5, 0.7, 0.9, 1}
    sizes = {cell.batch_size: cell.recipe.epochs * (877 // cell.batch_size) for cell in plan.cells}
    assert set(sizes) == {16, 64, 256}
    assert max(sizes.values()) <= 1.04 * min(sizes.values())


def test_exit_status_is_2_and_nothing_is_written(tmp_path):
    (tmp_path / "config.yaml").write_text("name: test\ngrids: [{name: main, dataset: digits, loss: schanne}]\n")
    for command in (["clce_bench.cli"], ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]):
        code = f"import sys; sys.argv[1:] = {command[1:] or ['plan']!r}; " + (
            "from clce_bench.cli import main; main()" if len(command) == 1 else "from snakemake.cli import main; main()"
        )
        done = python("-c", code, cwd=tmp_path)
        assert done.returncode == 2
        assert "error: config.yaml: grids[0].loss: 'schanne' is not a loss" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_loss_of_the_users_own_is_checked_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "raise RuntimeError('imported')\nclass Mine:\n    def __init__(self, margin: float, scale: int = 2): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    grid = {**GRID, "loss": {"name": "mine:Mine", "margin": [0.1, 0.2]}}
    plan = plan_of(parse_experiment({"name": "test", "grids": [grid]}, ""))
    assert [cell.loss for cell in plan.cells if cell.loss.hyperparameters["margin"] == 0.1] == [
        LossSpec(name="mine:Mine", margin=0.1, scale=2)
    ]
    with pytest.raises(UserError, match="'margin' has no default in the loss"):
        plan_of(parse_experiment({"name": "test", "grids": [{**GRID, "loss": "mine:Mine"}]}, ""))
