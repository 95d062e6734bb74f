"""Backbones as the papers use them: BEiT-3, image sizes, small stems, stochastic depth, weights from files."""

import logging

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.splits import make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime, named
from clce_bench.files import read_json
from clce_bench.models.backbone import load_backbone
from clce_bench.models.weights import prepare_backbone
from clce_bench.planning.plan import plan_of
from clce_bench.training.train import train_cell
from tests.helpers import shrunk

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def stored(folder, name, **spec):
    prepare_backbone({"name": name, "weights": "random", **spec}, folder)
    return folder


def test_the_feature_of_beit3_is_the_normalised_mean_of_the_patch_tokens(tmp_path):
    model = load_backbone(stored(tmp_path, shrunk.beit3_shrunk.__name__), 32)
    with torch.no_grad():
        model.fc_norm.weight.uniform_(0.5, 1.5)
        model.fc_norm.bias.uniform_(-1, 1)
        tokens = model.patch_embed(IMAGES)
        tokens = torch.cat([model.cls_token.expand(3, -1, -1), tokens], dim=1) + model.pos_embed
        for block in model.blocks:
            tokens = block(tokens)
        mean = tokens[:, 1:].mean(dim=1)
        expected = F.layer_norm(mean, (32,), model.fc_norm.weight, model.fc_norm.bias, eps=1e-5)
        torch.testing.assert_close(model(IMAGES), expected)
        assert expected.shape == (3, 32)


def test_beit3_of_the_paper_is_the_same_architecture():
    with torch.device("meta"):
        whole, shrunk = timm.create_model("beit3_base_patch16_224"), timm.create_model("beit3_shrunk")
    assert {type(module) for module in whole.modules()} == {type(module) for module in shrunk.modules()}
    assert (whole.global_pool, whole.num_features, len(whole.blocks)) == ("avg", 768, 12)
    assert shrunk.global_pool == "avg"
    assert isinstance(whole.fc_norm, torch.nn.LayerNorm)


@pytest.mark.parametrize("size", [16, 64])
def test_position_embeddings_follow_the_image_size(tmp_path, size):
    folder = stored(tmp_path, "beit3_shrunk")
    own, other = load_backbone(folder, 32), load_backbone(folder, size)
    grid = own.pos_embed[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(size // 8, size // 8), mode="bicubic", antialias=True, align_corners=False)
    assert torch.equal(other.pos_embed[:, :1], own.pos_embed[:, :1])
    torch.testing.assert_close(other.pos_embed[:, 1:], resized.permute(0, 2, 3, 1).reshape(1, -1, 32))
    assert other(torch.randn(2, 3, size, size)).shape == (2, 32)


def test_a_size_that_the_model_cannot_take_is_refused(tmp_path):
    with pytest.raises(UserError, match="size: 36 is not allowed for beit3_shrunk. Allowed: multiples of 8"):
        load_backbone(stored(tmp_path, "beit3_shrunk"), 36)


def test_position_embeddings_of_a_file_are_resized_and_nothing_else(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    state = timm.create_model("beit3_shrunk", img_size=64).state_dict()
    save_file(state, tmp_path / "larger.safetensors")
    spec = {"name": "beit3_shrunk", "weights": str(tmp_path / "larger.safetensors")}
    prepare_backbone(spec, tmp_path / "out")
    assert load_backbone(tmp_path / "out", 32).pos_embed.shape == (1, 17, 32)
    assert "pos_embed resized to the model's image size" in caplog.text
    assert "the classifier (head.weight, head.bias) is not used" in caplog.text
    state["patch_embed.proj.weight"] = torch.zeros(32, 3, 16, 16)
    save_file(state, tmp_path / "larger.safetensors")
    with pytest.raises(UserError, match=r"2 of another shape \(patch_embed.proj.weight, pos_embed\)"):
        prepare_backbone(spec, tmp_path / "bad")


def test_a_small_stem_keeps_small_images_large(tmp_path):
    usual = load_backbone(stored(tmp_path / "usual", "resnet18"), 32)
    small = load_backbone(stored(tmp_path / "small", "resnet18", small_stem=True), 32)
    assert usual.forward_features(IMAGES).shape[-2:] == (1, 1)
    assert small.forward_features(IMAGES).shape[-2:] == (4, 4)
    assert small.conv1.weight.shape == (64, 3, 3, 3)
    with pytest.raises(UserError, match="backbone.small_stem: true is not allowed for vit_tiny_patch16_224"):
        stored(tmp_path / "none", "vit_tiny_patch16_224", small_stem=True)


def test_drop_path_drops_in_training_only(tmp_path):
    folder = stored(tmp_path / "a", "beit3_shrunk")
    model, plain = load_backbone(folder, 32, drop_path=0.5), load_backbone(folder, 32)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), plain(images))
    assert not torch.allclose(model.train()(images), plain(images))
    with pytest.raises(UserError, match="drop_path: 0.1 is not allowed: dla46_c has no stochastic depth"):
        load_backbone(stored(tmp_path / "b", "dla46_c"), 32, drop_path=0.1)


def test_gradient_checkpointing_changes_no_gradient(tmp_path):
    folder = stored(tmp_path, "beit3_shrunk")
    gradients = []
    for checkpointing in (False, True):
        model = load_backbone(folder, 32, gradient_checkpointing=checkpointing).train()
        model(IMAGES).square().sum().backward()
        gradients.append(model.blocks[0].attn.qkv.weight.grad)
        assert model.grad_checkpointing == checkpointing
    torch.testing.assert_close(*gradients)


def message(backbone=None, **recipe):
    grid = {"name": "main", "dataset": "digits", "loss": "clce", **({"recipe": recipe} if recipe else {})}
    with pytest.raises(UserError) as caught:
        plan_of(parse_experiment({"name": "t", "backbone": backbone or {}, "grids": [grid]}, "config.yaml"))
    return str(caught.value)


def test_what_a_frozen_trunk_rules_out_is_refused_at_reading():
    frozen = {"freeze": "blocks"}
    assert "recipe.drop_path: 0.1 is not allowed: the backbone is frozen up to 'blocks'" in message(
        frozen, drop_path=0.1
    )
    assert "recipe.layer_decay: 0.5 is not allowed" in message(frozen, layer_decay=0.5)
    assert "small_stem: true is not allowed: the weights 'timm' are for another stem" in message(
        {"name": "resnet18", "weights": "timm", "small_stem": True}
    )


def test_backbones_are_an_axis_of_a_grid():
    grid = {"name": "main", "dataset": "digits", "loss": "ce"}
    base = {"name": "resnet18", "weights": "random"}

    def names(axis, own=base):
        found = parse_experiment({"name": "t", "backbone": own, "grids": [{**grid, "backbone": axis}]}, "")
        again = parse_experiment(found.model_dump(by_alias=True), "")
        cells = union(cells_of(found))
        assert cells == union(cells_of(again))
        return [str(cell.directory) for cell in cells]

    both = names(["resnet18", {"name": "resnet50", "small_stem": True}])
    assert len(both) == 2
    assert names("resnet18") == names([]) == names({"weights": "random", "small_stem": False, "cached_views": 3})
    assert set(names("resnet18")) < set(both)
    with pytest.raises(UserError, match=r"grids\[0\].backbone.*'nam' is not a key"):
        names({"nam": "resnet18"})
    with pytest.raises(UserError, match="grids: main: backbone: small_stem: true is not allowed"):
        names({"small_stem": True}, {"name": "resnet18", "weights": "timm"})


FEW = {"images_per_class": 6}
"""Of each class: a step an epoch."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset({"dataset": "tiny", "size": 16}, folder / "data")
    split = {"dataset": "tiny", "size": 16, "split": {"seed": 0, "test": 0.25, "folds": 5, **FEW}}
    make_splits(split, folder / "data" / "items.parquet", folder / "splits")
    prepare_backbone({"name": "beit3_shrunk", "weights": "random"}, folder / "beit3")
    prepare_backbone({"name": "resnet18", "weights": "random", "small_stem": True}, folder / "resnet")
    return folder


@pytest.mark.parametrize(
    ("recipe", "weight"),
    [
        ("beit3-finetune", 0),
        ("beit3-finetune-large", 0),
        ("schane-finetune", 0.9),
        ("schane-fewshot", 0.9),
        ("tcl-supcon", 1),
        ("quick-frozen", 0.9),
    ],
)
def test_every_recipe_trains(data, tmp_path, recipe, weight):
    resnet = recipe == "tcl-supcon"
    backbone = {"name": "resnet18" if resnet else "beit3_shrunk", "weights": "random", "small_stem": resnet}
    grid = {"name": "g", "dataset": "tiny", "loss": "supcon" if resnet else "clce", "lambda": weight, "batch_size": 48}
    values = {"name": "t", "backbone": backbone, "datasets": {"tiny": {"size": 16, "split": FEW}}, "grids": [grid]}
    (cell,) = union(cells_of(parse_experiment({**values, "recipe": {"preset": recipe, "epochs": 1}}, "")))
    places = {"dataset": "data/dataset.json", "splits": "splits/splits.json"}
    places["backbone"] = "resnet/backbone.json" if resnet else "beit3/backbone.json"
    job = {"spec": cell.spec, "code": "", "inputs": {name: str(data / path) for name, path in places.items()}}
    train_cell(job, tmp_path / "cell", Runtime(gradient_checkpointing=True, micro_batch=None if resnet else 16))
    assert read_json(tmp_path / "cell" / "cell.json")["status"] == "done"
    assert np.isfinite(pd.read_csv(tmp_path / "cell" / "history.csv")["loss"]).all()


def test_recipes_of_this_test_are_all_there_are():
    marks = test_every_recipe_trains.pytestmark[0].args[1]
    assert {name for name, _ in marks} == set(named("recipes"))
