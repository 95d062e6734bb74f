"""A small model of each family of timm, without weights, and how fast its layers learn: by timm, and in a cell."""

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


def scales_of_timm(whole):
    """Returns scales by parameter of the tail, of the model with its classifier."""
    groups = param_groups_layer_decay(whole, layer_decay=DECAY)
    scales = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    return {f"tail.{name}": scales[id(value)] for name, value in whole.named_parameters()}


def scales_of_cell(whole):
    """Returns scales by parameter, as a cell has them: of the model without its classifier, which it takes off."""
    scales, recipe = layer_scales(whole, DECAY), Recipe(layer_decay=DECAY)
    whole.reset_classifier(0)
    with torch.device("meta"):
        model = ContrastiveClassifier(whole, whole.num_features, 3, 0.5, recipe, seed=0)
    groups = parameter_groups(model, torch.nn.Identity(), recipe, scales)
    found = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert len(found) == sum(len(group["params"]) for group in groups) == len(trained)
    return {name: found[id(value)] for name, value in trained.items()}
