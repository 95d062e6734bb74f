"""Each layer of a backbone learns at the rate that timm gives it in the model with its classifier."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from clce_bench.experiment.recipes import Recipe
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.optimization import layer_scales, parameter_groups

DECAY = 0.65
SMALL = ("atto", "femto", "pico", "nano", "xxs", "xs", "tiny", "small", "mini")


def smallest_of_each_family():
    families = {}
    for name in timm.list_models():
        families.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    return [
        min(names, key=lambda name: (not any(word in name for word in SMALL), len(name), name))
        for names in families.values()
    ]


def on_meta(name):
    with torch.device("meta"):
        return timm.create_model(name)


def trained(whole):
    """Returns scales by parameter, and whether it decays, as a cell has them: of the model without its classifier."""
    scales, recipe = layer_scales(whole, DECAY), Recipe(layer_decay=DECAY)
    whole.reset_classifier(0)
    with torch.device("meta"):
        model = ContrastiveClassifier(whole, whole.num_features, 3, 0.5, recipe, seed=0)
    groups = parameter_groups(model, torch.nn.Identity(), recipe, scales)
    found = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    return {name: found[id(value)] for name, value in model.named_parameters()}


@pytest.mark.parametrize("name", smallest_of_each_family()[::7])
def test_scales_are_those_of_the_model_with_its_classifier(name):
    whole = on_meta(name)
    groups = param_groups_layer_decay(whole, layer_decay=DECAY)
    expected = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    expected = {f"tail.{key}": expected[id(value)] for key, value in whole.named_parameters()}
    found = trained(whole)
    tail = {key: value for key, value in found.items() if key.startswith("tail.")}
    assert tail == {key: expected[key] for key in tail}
    assert len(set(tail.values())) > 2
    assert {value for key, value in found.items() if key not in tail} == {1.0}


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        (
            "beit3_base_patch16_224",
            {"fc_norm": 1.0, "blocks.11.mlp.fc1": 0.65, "blocks.0.mlp.fc1": 0.005688, "patch_embed.proj": 0.003697},
        ),
        ("vit_tiny_patch16_224", {"norm": 0.65, "blocks.11.mlp.fc1": 0.65, "patch_embed.proj": 0.003697}),
        ("convnext_atto", {"head.norm": 1.0}),
    ],
)
def test_a_last_norm_of_its_own_learns_like_the_classifier(name, scales):
    found = trained(on_meta(name))
    assert {key: found[f"tail.{key}.weight"] for key in scales} == pytest.approx(scales, rel=1e-3)
    assert found["classifier.weight"] == found["projection.0.weight"] == 1.0
