import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.costs.cell_cost import cell_cost
from clce_bench.data.sources.digits import DIGITS
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.models.profiling import Profile
from clce_bench.planning.plan import plan_of
from clce_bench.seeds import seed_for
from tests.helpers.interpreters import python

PROFILE = Profile(1000, 100, 64, 1e6, 1e5, 2e5, 1000, 1000)


def experiment(*grids, **keys):
    named = [{"name": f"grid{number}", "dataset": "digits", **grid} for number, grid in enumerate(grids)]
    return parse_experiment({"name": "test", "grids": named, **keys}, "test.yaml")


def names(*grids, **keys):
    return [cell.name for cell in union(cells_of(experiment(*grids, **keys)))]


def test_a_grid_is_the_product_of_its_axes():
    cells = names({"loss": ["supcon", "clce"], "lambda": [0.5, 0.9], "batch_size": [16, 32], "seed": [0, 1, 2]})
    assert len(cells) == 2 * 2 * 2 * 3


def test_cross_entropy_is_every_loss_at_lambda_zero():
    assert names({"loss": ["ce", "clce", "tcl"], "lambda": 0}) == names({"loss": "ce", "lambda": [0.5, 0.9]})


def test_cross_entropy_has_the_views_of_the_others_unless_that_is_broken_by_name():
    def cells(**grid):
        found = union(cells_of(experiment({"loss": ["ce", "clce"], "recipe": {"views": 3}, **grid})))
        return {cell.loss.name: (cell.recipe.views, cell.hazards) for cell in found}

    assert cells() == {"ce": (3, []), "clce": (3, [])}
    assert cells(hazards="unequal-views") == {"ce": (1, ["unequal-views"]), "clce": (3, [])}


def test_duplicates_collapse_over_grids():
    one = {"loss": "clce", "lambda": [0.1, 0.9]}
    assert names(one, {"loss": ["clce", "tcl"], "lambda": 0.9}) == sorted(
        {*names(one), *names({"loss": "tcl", "lambda": 0.9})}
    )


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_never_matters(shuffler: random.Random):
    axes = {"loss": ["ce", "supcon", "clce"], "lambda": [0.5, 0.9, 1.0], "batch_size": [16, 64], "seed": [0, 1]}
    shuffled = {
        key: shuffler.sample(values, len(values)) for key, values in shuffler.sample([*axes.items()], len(axes))
    }
    assert names(shuffled) == names(axes)


def test_equal_numbers_written_differently_are_one_cell():
    assert names({"loss": {"name": "clce", "temperature": 1}, "lambda": 0.5}) == names(
        {"loss": {"name": "clce", "temperature": "1.0e0"}, "lambda": "5e-1"}
    )


def test_a_hyperparameter_of_another_loss_does_not_exist_in_a_cell():
    changed = {"losses": {"tcl": {"temperature": 0.7}}}
    assert names({"loss": "clce"}, **changed) == names({"loss": "clce"})
    assert names({"loss": "tcl"}, **changed) != names({"loss": "tcl"})


def test_spec_and_cell_are_equivalent():
    for cell in union(cells_of(experiment({"loss": ["ce", "tcl"], "lambda": [0.9, 1.0]}))):
        again = Cell.model_validate(json.loads(json.dumps(cell.spec)))
        assert again.name == cell.name


def test_a_changed_copy_of_a_cell_is_a_cell_of_its_own():
    (cell,) = union(cells_of(experiment({"loss": "clce"})))
    assert cell.directory.name == cell.name
    other = cell.model_copy(update={"batch_size": 7})
    assert other.spec == {**cell.spec, "batch_size": 7}
    assert other.name != cell.name
    assert other.directory.name == other.name


def test_names_and_seeds_are_the_same_in_another_process():
    code = (
        "from clce_bench.experiment.expansion import *; from clce_bench.experiment.cells import *;"
        "from clce_bench.experiment.loading import *;"
        "from clce_bench.seeds import *;"
        "e = parse_experiment({'name': 'test', 'grids': [{'name': 'grid0', 'dataset': 'digits', 'loss': 'tcl'}]}, '');"
        "print(union(cells_of(e))[0].name, seed_for('batches', dataset='digits', seed=3))"
    )
    printed = python("-c", code, check=True).stdout.split()
    assert printed == [*names({"loss": "tcl"}), str(seed_for("batches", seed=3, dataset="digits"))]


def test_recipe_layers_override_from_general_to_special():
    cells = union(
        cells_of(
            experiment(
                {"loss": ["ce", "clce", {"name": "tcl", "recipe": {"epochs": 5}}], "recipe": {"warmup": [0.0, 0.2]}},
                recipe={"epochs": 2, "learning_rate": 0.1},
                datasets={"digits": {"recipe": {"epochs": 3}}},
                losses={"clce": {"recipe": {"epochs": 4}}},
            )
        )
    )
    found = {(cell.loss.name, cell.recipe.epochs, cell.recipe.warmup) for cell in cells}
    assert found == {(loss, n, w) for loss, n in (("ce", 3), ("clce", 4), ("tcl", 5)) for w in (0.0, 0.2)}
    assert {cell.recipe.learning_rate for cell in cells} == {0.1}


def test_folds_share_their_split_and_images_per_class_do_not():
    grid = {"loss": ["ce", "clce"], "fold": [0, 1, 2], "images_per_class": [20, 100]}
    plan = plan_of(experiment(grid))
    assert len(plan.cells) == 2 * 3 * 2
    assert len(plan.jobs["splits"]) == 2
    assert [job.spec["split"].get("images_per_class") for job in plan.jobs["splits"].values()] in ([20, 100], [100, 20])
    assert all("fold" not in job.spec["split"] for job in plan.jobs["splits"].values())
    assert {cell.split.fold for cell in plan.cells} == {0, 1, 2}
    assert sum("_n20_" in cell.name for cell in plan.cells) == 6
    # All images: the key does not exist, and the name says nothing of it.
    assert "images_per_class" not in plan_of(experiment({"loss": "ce"})).cells[0].spec["split"]


def test_features_belong_to_a_split():
    plan = plan_of(experiment({"loss": "ce", "images_per_class": [20, 100]}, backbone={"freeze": "blocks"}))
    assert len(plan.jobs["features"]) == 2
    assert {job.inputs["splits"] for job in plan.jobs["features"].values()} == {
        f"results/splits/{key}/splits.json" for key in plan.jobs["splits"]
    }


def test_seeds_depend_on_every_named_axis():
    seeds = {seed_for(purpose, seed=seed, dataset=name) for purpose in "ab" for seed in (0, 1) for name in "xy"}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_cell_leaves_out_what_it_does_not_use():
    def spec(grid=None, **keys):
        (cell,) = union(cells_of(experiment({"loss": "clce", **(grid or {})}, **keys)))
        return cell.spec

    assert "cached_views" not in spec()["backbone"]
    assert spec(backbone={"freeze": "blocks", "cached_views": 4})["backbone"]["cached_views"] == 4
    assert spec(backbone={"weights": "random", "small_stem": True})["backbone"]["small_stem"] is True
    assert spec({"lambda": 1.0})["recipe"]["projection_size"] == 128
    assert "projection_size" not in spec({"lambda": 0.0})["recipe"]
    assert {"momentum", "augmentation"}.isdisjoint(spec(recipe={"momentum": 0.5, "augmentation": "simclr"})["recipe"])
    assert spec(recipe={"optimizer": "sgd", "momentum": 0.5})["recipe"]["momentum"] == 0.5
    assert spec(losses={"clce": {"labels": "images"}})["loss"]["labels"] == "images"
    assert "labels" not in spec()["loss"]
    assert {"hazards", "support"}.isdisjoint(spec())
    assert spec({"hazards": "leaky-split"})["hazards"] == ["leaky-split"]


def test_parts_that_test_in_turn_share_a_split_and_features_and_are_named():
    keys = {"backbone": {"freeze": "blocks"}, "datasets": {"digits": {"split": {"test_folds": 4}}}}
    plan = plan_of(experiment({"loss": ["ce", "clce"], "test_fold": [0, 1, 2, 3], "seed": [0, 1]}, **keys))
    assert len(plan.cells) == 2 * 4 * 2
    assert len(plan.jobs["splits"]) == len(plan.jobs["features"]) == 1
    (split,) = (job.spec["split"] for job in plan.jobs["splits"].values())
    assert split == {"seed": 0, "test_folds": 4, "folds": 5}
    assert {(cell.axes["test_fold"], cell.axes["test_folds"]) for cell in plan.cells} == {(n, 4) for n in range(4)}
    assert all(f"_test{cell.split.test_fold}_s{cell.seed}-" in cell.name for cell in plan.cells)
    for cell in plan.cells:
        assert Cell.model_validate(json.loads(json.dumps(cell.spec))).name == cell.name
    again = parse_experiment(json.loads(json.dumps(plan.experiment.model_dump(by_alias=True))), "experiment.json")
    assert plan_of(again).cells == plan.cells


def test_classes_that_are_novel_in_turn_share_a_split_and_features_and_have_episodes_of_their_own():
    keys = {"backbone": {"freeze": "blocks"}, "datasets": {"openmoji-fs": {"split": {"class_folds": 4}}}}
    grid = {"dataset": "openmoji-fs", "loss": ["ce", "clce"], "class_fold": [0, 1, 2, 3]}
    plan = plan_of(experiment(grid, **keys))
    assert [len(plan.jobs[verb]) for verb in ("splits", "features", "episodes", "train")] == [1, 1, 4, 8]
    assert sorted(job.spec["class_fold"] for job in plan.jobs["episodes"].values()) == [0, 1, 2, 3]
    assert {cell.name.split("_")[3] for cell in plan.cells} == {"class0", "class1", "class2", "class3"}
    # A loss with augmentations of its own must not change the support, which are other classes each time.
    keys["losses"] = {"clce": {"recipe": {"augmentation": "simclr"}}}
    assert len(plan_of(experiment(grid, **keys)).jobs["features"]) == 1 + 4


def test_the_kept_images_follow_the_seed_unless_they_are_chosen():
    def subsets(**split):
        grid = {"loss": "ce", "seed": [0, 7], "images_per_class": 20}
        cells = union(cells_of(experiment(grid, datasets={"digits": {"split": split}})))
        return {cell.seed: cell.split.subset_seed for cell in cells}

    assert subsets() == {0: 0, 7: 7}
    assert subsets(subset_seed=3) == {0: 3, 7: 3}
    # Where all images train there is nothing to choose.
    (cell,) = union(cells_of(experiment({"loss": "ce"}, datasets={"digits": {"split": {"subset_seed": 3}}})))
    assert cell.name == names({"loss": "ce"})[0]


def test_no_training_is_a_cell_without_steps_whatever_the_recipe_says():
    given = {"loss": ["none", "ce", "clce"], "lambda": [0, 0.9, 1.0], "recipe": {"epochs": [1, 2]}}
    cells = union(cells_of(experiment(given, losses={"none": {"recipe": {"learning_rate": 0.5}}})))
    (untrained,) = (cell for cell in cells if not cell.trains)
    assert len(cells) == 1 + 2 + 2 * 2
    assert untrained.contrastive_weight == 0
    assert untrained.spec["recipe"] == {}
    assert not any(name.startswith("recipe.") and name != "recipe.augmentation" for name in untrained.axes)
    assert Cell.model_validate(json.loads(json.dumps(untrained.spec))).name == untrained.name
    # It sees what the others see: the same split, the same stored features.
    plan = plan_of(experiment({"loss": ["none", "ce"]}, backbone={"freeze": "blocks"}))
    assert [len(plan.jobs[verb]) for verb in ("splits", "features", "train", "evaluate")] == [1, 1, 2, 2]
    costs = {cell.trains: cell_cost(cell, DIGITS, PROFILE).flops for cell in plan.cells}
    assert 0 < costs[False] < costs[True] / 3
