"""What a recipe says of the optimiser: which parameters decay, how fast each learns, and when."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Recipe
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.create import create_model


def build_optimizer(model: ContrastiveClassifier, loss: nn.Module, cell: Cell) -> torch.optim.Optimizer:
    """Builds the recipe's optimiser; :func:`set_learning_rate` sets its rates.

    Args:
        model: its tail is the trainable part of the backbone.
        loss: may have parameters of its own.
        cell: its recipe, and its backbone, whose layers may learn at different rates.
    """
    recipe = cell.recipe
    scales: dict[str, float] = {}
    if recipe.layer_decay < 1:
        with torch.device("meta"):
            whole = create_model(cell.backbone.name, cell.backbone.small_stem)
        scales = layer_scales(whole, recipe.layer_decay)
    groups: Any = parameter_groups(model, loss, recipe, scales)
    options: dict[str, Any] = {"lr": recipe.learning_rate, **recipe.optimizer_options}
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, **{"fused": True, **options})
    if recipe.optimizer == "sgd":  # timm's has Nesterov's momentum.
        return torch.optim.SGD(groups, momentum=recipe.momentum, **options)
    made: torch.optim.Optimizer = create_optimizer_v2(groups, recipe.optimizer, momentum=recipe.momentum, **options)
    return made


def layer_scales(backbone: nn.Module, layer_decay: float) -> dict[str, float]:
    """Says how fast each parameter learns: the further from the end its layer is, the more slowly.

    Args:
        backbone: a timm model with its classifier, which counts as a layer: what timm puts beside it, such as a last
            norm of its own, learns at the classifier's rate.
        layer_decay: factor from each layer to the one before.
    """
    groups: list[dict[str, Any]] = param_groups_layer_decay(backbone, layer_decay=layer_decay)
    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    return {name: scales[id(parameter)] for name, parameter in backbone.named_parameters()}


def parameter_groups(
    model: ContrastiveClassifier, loss: nn.Module, recipe: Recipe, scales: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Divides the parameters that are trained by weight decay and learning rate.

    Biases and normalisation do not decay, nor does what the backbone exempts (position embeddings). The heads learn at
    full rate.

    Args:
        model: its tail is the trainable part of the backbone.
        loss: may have parameters of its own.
        recipe: says the weight decay.
        scales: factor of the rate by parameter of the tail, from :func:`layer_scales`; 1 where there is none.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``lr_scale``.
    """
    exempt: set[str] = set(getattr(model.tail, "no_weight_decay", set)())
    scale_of = {id(parameter): scales.get(name, 1.0) for name, parameter in model.tail.named_parameters()}
    modules = [module for module in (model.tail, model.classifier, model.projection, loss) if module is not None]
    divided: dict[tuple[float, float], list[nn.Parameter]] = {}
    for module in modules:
        own = exempt if module is model.tail else ()
        for group in param_groups_weight_decay(module, recipe.weight_decay, no_weight_decay_list=own):
            for parameter in group["params"]:
                key = float(group["weight_decay"]), scale_of.get(id(parameter), 1.0)
                divided.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale), parameters in divided.items()
    ]


def learning_rate(recipe: Recipe, batch_size: int, step: int, steps: int) -> float:
    """Returns the learning rate of a step: a linear rise to the peak, then half a cosine down.

    Args:
        recipe: peak, start, end and share of the rise.
        batch_size: the peak holds at ``recipe.reference_batch_size`` and follows the batch size from there.
        step: counts from 0.
        steps: of the whole training.
    """
    exponent = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[recipe.learning_rate_scaling]
    peak = recipe.learning_rate * (batch_size / recipe.reference_batch_size) ** exponent
    rising = recipe.warmup * steps
    if step < rising:
        start = recipe.warmup_learning_rate
        return float(start + (peak - start) * ((step + 1) / (rising + 1)))
    share = 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    return float(recipe.minimum_learning_rate + (peak - recipe.minimum_learning_rate) * share)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of the next step, scaled for each group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
