"""Costs before compute, against counts by hand, and against what cells took."""

import json
import shutil
import subprocess
from functools import partial

import pytest
import torch

from clce_bench.cli import command_status
from clce_bench.components.registry import load_dataset
from clce_bench.costs.cell_cost import (
    PROBE_IMAGES,
    PROBE_PASSES,
    READING,
    FeaturesCost,
    Profile,
    cell_cost,
    costs_of,
    episodes_flops,
    features_costs,
    profile_of,
)
from clce_bench.costs.run_time import ALONE, PER_CELL, STARTING, TOGETHER, features_threads, run_seconds
from clce_bench.costs.speeds import FILE, measure_here, speeds, unmeasured, workload
from clce_bench.costs.throughput import devices, estimated_against_actual, hours
from clce_bench.errors import UserError
from clce_bench.evaluation import known_classes
from clce_bench.experiment.backbone_options import Backbone
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.files import write_json
from clce_bench.machine import cpu_name
from clce_bench.models import profiling, speed
from clce_bench.planning.plan import plan_of
from clce_bench.planning.reruns import reruns_of
from clce_bench.report.page_tables import cost_table
from tests.helpers import shrunk
from tests.helpers.interpreters import python
from tests.helpers.made_up import change_record, make_up
from tests.helpers.miniature import ROOT

SHRUNK = Backbone(name=shrunk.beit3_shrunk.__name__, weights="random")


def test_operations_of_beit3_are_those_counted_by_hand():
    counted = profiling.count(SHRUNK, 32)
    tokens, wide, heads = 17, 32, 2
    block = tokens * wide * (3 * wide + wide + 4 * wide + 4 * wide) + 2 * heads * tokens**2 * (wide // heads)
    patches = 16 * (3 * 8 * 8) * wide
    assert counted.forward == 2 * (2 * block + patches)
    # The gradients of inputs and of weights each take the forward's operations; no gradient of the images is needed.
    assert counted.backward == 2 * counted.forward - 2 * patches
    assert (counted.trunk, counted.features, counted.trained) == (0, 32, counted.parameters)


def test_the_base_model_counts_as_many_parameters_as_it_has():
    assert profiling.count(Backbone(name="beit3_base_patch16_224.pt", weights="random"), 224).parameters == 85_890_816


def test_a_cut_backbone_costs_what_the_whole_one_does():
    whole = profiling.count(SHRUNK, 64)
    cut, fixed = (profiling.count(SHRUNK.model_copy(update={"freeze": name}), 64) for name in ("blocks.0", "all"))
    assert cut.trunk + cut.forward == fixed.trunk == whole.forward
    assert (fixed.forward, fixed.backward, fixed.activations, fixed.trained) == (0, 0, 0, 0)
    assert 0 < cut.backward < whole.backward
    assert 0 < cut.activations < whole.activations
    assert 0 < cut.trained < whole.trained == whole.parameters == cut.parameters
    assert (cut.stored, fixed.stored) == (65 * 32 * 4, 32 * 4)


def test_activations_are_at_least_what_a_real_step_keeps():
    import timm

    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    model = timm.create_model("beit3_shrunk", num_classes=0, img_size=64).train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(4, 3, 64, 64))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    real = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own) / 4
    assert real <= profiling.count(SHRUNK, 64).activations < 4 * real


def test_parts_that_test_in_turn_leave_the_rest_to_train():
    def flops(**split):
        grid = {"name": "g", "dataset": "digits", "loss": "ce", "batch_size": 2}
        values = {"name": "t", "datasets": {"digits": {"split": split}}, "grids": [grid]}
        (cell,) = union(cells_of(parse_experiment(values, "")))
        return cell_cost(cell, load_dataset("digits"), profiling.count(SHRUNK, 64)).flops

    # Of 1,797 digits a half, three quarters or nine tenths train and validate. All of them are looked at in the end.
    half, most = flops(test_folds=2) / flops(test_folds=4), flops(test_folds=10) / flops(test_folds=4)
    assert half == pytest.approx(2 / 3, abs=0.02)
    assert most == pytest.approx(1.2, abs=0.02)
    assert flops(test_folds=4) == pytest.approx(flops(), rel=0.01)


def cells(micro_batch=None, **recipe):
    grid = {"name": "g", "dataset": "digits", "loss": "clce", "lambda": [0, 0.5, 1], "batch_size": 100}
    return {
        cell.contrastive_weight: cell
        for cell in union(cells_of(parse_experiment({"name": "t", "recipe": recipe, "grids": [grid]}, "")))
    }


def test_the_cost_of_a_cell_is_the_sum_of_its_parts():
    each = Profile(1000, 900, features=10, trunk=0, forward=1e6, backward=2e6, activations=5000, stored=7)
    source = load_dataset("digits")
    assert (source.train_images, source.class_count) == (1076, 10)
    images = source.image_count or 1076
    found = cells(epochs=3, views=2, projection_size=4)
    heads = {0: 10 * 10, 0.5: 10 * 10 + 10 * 14, 1: 10 * 14}
    for weight, cell in found.items():
        head = 2 * heads[weight]
        rows, unseen = 3 * 10 * 200, 3 * (1076 // 4) + images
        cost = cell_cost(cell, source, each)
        assert cost.flops == rows * (3e6 + 3 * head) + unseen * (1e6 + head)
        assert cost.weights == 16 * (900 + heads[weight])
        assert cost.memory == cost.weights + 200 * 5000
        small = cell_cost(cell, source, each, 32)
        assert (
            small.flops - cost.flops == rows * (1e6 + head) == cell_cost(cell, source, each, "auto").flops - cost.flops
        )
        assert small.memory == cost.weights + 32 * 5000
    assert cell_cost(found[1], source, each).disk == 4 * (900 + 140) + images * 2 * 10
    averaged = cells(epochs=3, ema=0.9, optimizer="sgd")[0]
    assert cell_cost(averaged, source, each).weights == 16 * (900 + 100)


def test_outputs_of_frozen_trunks_count_once():
    grid = {"name": "g", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}
    backbone = {"name": "beit3_shrunk", "weights": "random", "freeze": "blocks.0", "cached_views": 3}
    plan = plan_of(parse_experiment({"name": "t", "backbone": backbone, "grids": [grid]}, ""))
    each = profile_of(plan.cells[0].backbone, 64)
    images = (load_dataset("digits").image_count or 1345) + 3 * 1345
    cost = FeaturesCost(images * each.trunk, images * each.stored, images, plan.cells[0])
    assert features_costs(plan) == dict.fromkeys(plan.jobs["features"], cost)
    assert len(plan.jobs["features"]) == 1


def test_the_probe_takes_part_of_a_large_training_set():
    assert PROBE_IMAGES == known_classes.PROBE_IMAGES
    each = Profile(0, 0, 100, 0, 0, 0, 0, 0)
    values = {"name": "t", "grids": [{"name": "g", "dataset": ["digits", "imagenet"], "loss": "ce"}]}
    small, large = plan_of(parse_experiment(values, "")).cells
    images = {"digits": 1345, "imagenet": PROBE_IMAGES}
    for cell in (small, large):
        source = load_dataset(cell.dataset)
        products = 4 * images[cell.dataset] * 100 * (source.class_count + READING)
        assert cell_cost(cell, source, each).probe == PROBE_PASSES * products
    assert cell_cost(large, source, each).evaluation > cell_cost(large, source, each).disk


def test_episodes_of_more_support_rows_cost_more_and_other_cells_have_none():
    values = {
        "name": "t",
        "backbone": {"freeze": "blocks", "cached_views": 3},
        "datasets": {"openmoji-fs": {"episodes": {"count": 100, "way": 5, "shots": [1, 4]}}},
        "grids": [{"name": "g", "dataset": ["digits", "openmoji-fs"], "loss": "ce"}],
    }
    plan = plan_of(parse_experiment(values, ""))
    digits, few_shot = (episodes_flops(plan, cell) for cell in plan.cells)
    assert digits == 0
    assert few_shot == 100 * (2 * 20e6 + 72 * ((5 * 3) ** 3 + (5 * 4 * 3) ** 3))


def test_hours_are_operations_over_speed():
    grid = {"name": "g", "dataset": "digits", "loss": ["ce", "clce"], "recipe": {"precision": ["bfloat16", "float32"]}}
    backbone = SHRUNK.model_dump()
    plan = plan_of(parse_experiment({"name": "t", "backbone": backbone, "grids": [grid]}, ""))
    costs = costs_of(plan)
    write_json(FILE, {"training": {"a chip": {workload(cell): 1e9 for cell in plan.cells}}})
    found = hours(plan, costs)
    total = sum(cost.flops for cost in costs.values())
    assert found["a chip, measured"] == pytest.approx(total / 1e9 / 3600)
    assert found["NVIDIA V100 SXM2, at its peak"] is None  # No source for its speed in these precisions.
    halves = [
        costs[cell.name].flops / (312e12 if cell.recipe.precision == "bfloat16" else 19.5e12) for cell in plan.cells
    ]
    assert found["NVIDIA A100 SXM4, at its peak"] == pytest.approx(sum(halves) / 3600)
    assert all(device["source"] for device in devices().values())


def test_this_machine_is_measured_once(monkeypatch):
    monkeypatch.setattr(speed, "measure", partial(speed.measure, seconds=0.2))
    grid = {"name": "g", "dataset": "digits", "loss": "ce"}
    plan = plan_of(parse_experiment({"name": "t", "backbone": SHRUNK.model_dump(), "grids": [grid]}, ""))
    threads = torch.get_num_threads()
    assert unmeasured(plan.cells) == plan.cells
    name = measure_here(plan.cells, "cpu")
    assert torch.get_num_threads() == threads
    found, (cell,) = speeds(), plan.cells
    assert 1e6 < found.training[name][workload(cell)] < 1e14
    assert 1e-6 < found.views[name][workload(cell)] < 1
    assert 1e6 < found.probe[name] < 1e14
    assert hours(plan, costs_of(plan))[f"{name}, measured"] > 0
    assert unmeasured(plan.cells) == []


def test_a_large_backbone_is_not_measured_unless_asked_for(monkeypatch):
    grid = {"name": "g", "dataset": "digits", "loss": "ce"}
    plan = plan_of(parse_experiment({"name": "t", "backbone": SHRUNK.model_dump(), "grids": [grid]}, ""))
    each = profile_of(plan.cells[0].backbone, plan.cells[0].size)
    monkeypatch.setattr("clce_bench.costs.speeds.LIGHT", each.forward + each.backward)
    assert unmeasured(plan.cells) == []


def test_the_time_of_a_run_is_that_of_its_jobs():
    grid = {"name": "g", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}
    backbone = {"name": "beit3_shrunk", "weights": "random", "freeze": "blocks.0", "cached_views": 3}
    plan = plan_of(parse_experiment({"name": "t", "backbone": backbone, "grids": [grid]}, ""))
    costs, reruns = costs_of(plan), reruns_of(plan)
    assert run_seconds(reruns, costs, 2) is None  # Nothing was measured.
    kind = workload(plan.cells[0])
    measured = {"training": {cpu_name(): {kind: 1e8}}, "views": {cpu_name(): {kind: 0.01}}, "probe": {cpu_name(): 1e9}}
    write_json(FILE, measured)
    flops, probes = sum(cost.flops for cost in costs.values()) / 1e8, sum(cost.probe for cost in costs.values()) / 1e9
    (trunk,) = features_costs(plan).values()
    views = 0.01 * trunk.views
    beside = 4 * (TOGETHER["train"] + TOGETHER["evaluate"]) + TOGETHER["features"]
    alone = STARTING + sum(ALONE[verb] + PER_CELL.get(verb, 0) * 4 for verb in ("summarize", "report", "track"))
    assert run_seconds(reruns, costs, 1) == pytest.approx(alone + beside + views + flops + probes)
    # A second core halves all but what runs alone; the views of the only data set use both, unless a GPU computes them.
    assert run_seconds(reruns, costs, 2) == pytest.approx(alone + (views + beside + flops + probes) / 2)
    write_json(FILE, measured | {part: {"a GPU": measured[part][cpu_name()]} for part in ("training", "views")})
    assert run_seconds(reruns, costs, 2) == pytest.approx(alone + views + flops + (beside + probes) / 2)


@pytest.mark.parametrize(("cores", "expected"), [(None, 1), (1, 1), (2, 1), (4, 2), (5, 2)])
def test_data_sets_share_the_cores_for_their_views(cores, expected):
    grids = [{"name": name, "dataset": name, "loss": "ce"} for name in ("digits", "openmoji")]
    plan = plan_of(parse_experiment({"name": "t", "backbone": {"freeze": "blocks"}, "grids": grids}, ""))
    assert features_threads(reruns_of(plan), cores) == expected
    assert features_threads(None, cores) == 1  # In a job of a cluster.


def test_grouped_convolutions_cost_what_their_parts_do():
    def backward(groups, transposed=False):
        kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
        with torch.device("meta"):
            layer, images = kind(12, 24, 3, groups=groups), torch.zeros(2, 12, 8, 8, requires_grad=True)
            outputs = layer(images)
        with profiling.counter() as counted:
            outputs.sum().backward()
        return counted.get_total_flops()

    for transposed, places in ((False, 6 * 6), (True, 8 * 8)):
        forward = 2 * 2 * places * 12 * 24 * 9
        assert [backward(groups, transposed) for groups in (1, 4, 12)] == [2 * forward / n for n in (1, 4, 12)]


def test_estimates_are_set_against_what_cells_took():
    _, plan = make_up()
    change_record(plan.cells[0], seconds=7200.0, peak_memory_mib=512)
    assert estimated_against_actual(plan) == []  # Nothing was estimated.
    costs = costs_of(plan)
    write_json(FILE, {"training": {"a processor": {workload(plan.cells[0]): 1e9}}})
    first, *others = estimated_against_actual(plan)
    assert len(others) == len(plan.cells) - 1
    assert first.hours == pytest.approx(costs[plan.cells[0].name].flops / 1e9 / 3600)
    assert (first.cell, first.device, first.actual_hours) == (plan.cells[0].name, "a processor", 2.0)
    assert first.actual_memory == 512 * 2**20
    (row,) = cost_table([first]).rows
    assert (row["device"], row["hours taken"], row["largest memory taken (MiB)"]) == ("a processor", "2", "512")
    assert row["hours expected"] == f"{first.hours:.3g}"
    write_json(FILE, {})
    assert estimated_against_actual(plan)[0].hours is None
    assert cost_table(estimated_against_actual(plan)).rows[0]["hours expected"] == "not measured"


@pytest.mark.parametrize(("name", "count"), [("clce", 444), ("tcl", 273)])
def test_the_papers_experiments_can_be_planned_without_data(name, count, monkeypatch, capsys):
    monkeypatch.setattr("clce_bench.costs.speeds.LIGHT", 0)  # This machine is not measured here.
    path = ROOT / "experiments" / f"{name}.yaml"
    assert command_status(["plan", "--experiment", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in (f"{count} cells", f"{count} missing", "EFLOP", "NVIDIA A100 SXM4, at its peak: ", "to download"):
        assert text in printed
    assert command_status(["plan", "--json", "--experiment", str(path)]) == 0
    planned = json.loads(capsys.readouterr().out)
    rows = planned["cells"]
    assert len(rows) == sum(job["rule"] == "train" for job in planned["jobs"]) == count
    assert all(row["cost"]["flops"] > 1e15 for row in rows)


def test_the_papers_experiments_hold_what_they_promise():
    plan = plan_of(load_experiment(ROOT / "experiments" / "clce.yaml"))
    assert len({cell.dataset for cell in plan.cells}) == 12
    assert {cell.loss.name for cell in plan.cells} == {"ce", "clce", "supcon", "schane"}
    assert {cell.contrastive_weight for cell in plan.grids["lambda"]} == {0, 0.1, 0.3, 0.5, 0.7, 0.9, 1}
    assert {cell.batch_size for cell in plan.grids["batch-size"]} == {2**n for n in range(6, 13)}
    assert {cell.seed for cell in plan.cells} == {0, 1, 2}
    for usual, strong in (("transfer", "transfer-strong-ce"), ("few-shot", "few-shot-strong-ce")):
        one, other = ({cell.name: cell for cell in plan.grids[name]} for name in (usual, strong))
        assert all(one[name].loss.name != "ce" for name in one.keys() & other.keys())
        baselines = [[cell for cell in found.values() if cell.loss.name == "ce"] for found in (one, other)]
        assert {cell.recipe.mixup for cell in baselines[0]} == {0}
        assert {(cell.recipe.mixup, cell.recipe.views, cell.augmentation.erasing) for cell in baselines[1]} == {
            (0.8, 2, 0.25)
        }
        assert {cell.recipe.epochs for cell in [*one.values(), *other.values()]} == {50 if usual == "transfer" else 100}


@pytest.mark.parametrize("name", ["tcl", "tcl-embedded"])
def test_tcls_experiments_have_both_settings_and_the_axes_of_its_figures(name):
    grids = plan_of(load_experiment(ROOT / "experiments" / f"{name}.yaml")).grids

    def values(grid, axis):
        return {cell.axes[axis] for cell in grids[grid] if axis in cell.axes}

    assert values("batch-size", "batch_size") > {64, 256}
    assert len(values("encoder", "backbone")) > 2
    assert len(values("projector", "recipe.projection_size")) > 2
    assert values("augmentation", "recipe.augmentation") >= {"autoaugment", "simclr", "randaugment"}
    assert values("k1", "loss.k1") > {1, 5000, 50000}
    assert values("k2", "loss.k2") >= {1, 3}
    for grid in ("batch-size", "encoder", "projector", "augmentation", "k1", "k2"):
        assert values(grid, "loss") == {"supcon", "tcl"}
        assert values(grid, "lambda") == {1}
    assert {cell.axes["loss"]: cell.recipe.views for cell in grids["self-supervised"]} == {
        **dict.fromkeys(("ntxent", "dcl", "barlow-twins", "vicreg", "simsiam", "byol", "moco"), 2),
        **dict.fromkeys(("supcon-images", "tcl-images"), 3),
        **({"none": 2} if name == "tcl-embedded" else {}),
    }
    trained = [cell for cell in grids["self-supervised"] if cell.trains]
    assert all(cell.self_supervised and cell.contrastive_weight == 1 for cell in trained)
    assert values("fused", "loss") == {"ce", "supcon", "tcl"}
    assert {cell.seed for cells in grids.values() for cell in cells} == {0, 1, 2}
    if name == "tcl":
        assert values("encoder", "backbone") == {"resnet18", "resnet34", "resnet50", "resnet101"}
        assert {cell.backbone.small_stem for cell in grids["imagenet100"]} == {False}
        assert {cell.backbone.small_stem for cell in grids["encoder"]} == {True}


def test_where_fashion_mnist_is_not_at_hand_one_command_plans_the_same_on_drawings(tmp_path):
    command, run = (ROOT / "docs" / "papers.md").read_text().split("```sh\n")[1].split("```")[0].strip().splitlines()
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    own, other = tmp_path / run.rpartition("=")[2], ROOT / "experiments" / "tcl-embedded.yaml"
    assert "ashion" not in own.read_text()
    found, usual = (plan_of(load_experiment(path)) for path in (own, other))
    assert found.experiment.name == "tcl-openmoji"
    assert {cell.dataset for cell in found.cells} == {"openmoji"}
    assert {cell.split.images_per_class for cell in found.cells} == {None}
    assert len(found.cells) == 111
    counts = ({name: len(cells) for name, cells in plan.grids.items()} for plan in (found, usual))
    assert next(counts) == next(counts)
    assert load_dataset("openmoji").train_images == 877


@pytest.mark.parametrize("name", ["tcl", "tcl-embedded"])
def test_where_losses_are_fused_only_the_loss_differs(name):
    grids = plan_of(load_experiment(ROOT / "experiments" / f"{name}.yaml")).grids
    cells = grids["fused"]
    recipes = {(cell.dataset, cell.recipe.model_dump_json(), cell.augmentation.label) for cell in cells}
    assert len(recipes) == len({cell.dataset for cell in cells})
    assert {cell.recipe.views for cell in cells} == {2}
    if name == "tcl":
        labels = {cell.dataset: cell.augmentation.label for cell in cells}
        assert labels == {"cifar10": "autoaugment", "cifar100": "autoaugment", "fashion-mnist": "crop-flip"}
        own = [cell.recipe for cell in grids["small-images"] if cell.contrastive_weight == 0]
        assert {(recipe.epochs, recipe.learning_rate, recipe.views) for recipe in own} == {(50, 0.5, 1)}


def test_a_backbone_that_does_not_exist_is_found_when_planning():
    with pytest.raises(UserError, match="backbone.name: 'resnet81' is not a timm model. Did you mean 'resnet18'"):
        profile_of(Backbone(name="resnet81", weights="random"), 32)


def test_torch_is_imported_for_counting_only(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "measure", partial(speed.measure, seconds=0.1))
    code = (
        "import sys; from clce_bench.cli import command_status;"
        "status = command_status(['plan', *sys.argv[1:]]); print(status, 'torch' in sys.modules)"
    )
    (tmp_path / "config.yaml").write_text(
        "name: t\nbackbone: {name: resnet18, weights: random}\ngrids: [{name: g, dataset: digits, loss: ce}]\n"
    )

    def said(*options):
        return python("-c", code, *options, cwd=tmp_path, check=True).stdout.splitlines()[-1]

    assert said("--no-cost") == "0 False"
    assert command_status(["plan"]) == 0  # It counts.
    assert said() == "0 False"
