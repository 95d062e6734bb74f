"""What a recipe says of the optimiser: which parameters decay, how fast each learns, and when."""

import math
from typing import Any

import torch
from timm.optim import Lars, param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from clce_bench.experiment.recipes import Recipe
from clce_bench.models.classifier import ContrastiveClassifier


def build_optimizer(model: ContrastiveClassifier, loss: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Builds the recipe's optimiser; :func:`set_learning_rate` sets its rates.

    Args:
        model: its tail is the trainable part of the backbone.
        loss: may have parameters of its own.
        recipe: the cell's recipe.
    """
    groups: Any = parameter_groups(model, loss, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    if recipe.optimizer == "lars":
        return Lars(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def parameter_groups(model: ContrastiveClassifier, loss: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Divides the parameters that are trained by weight decay and learning rate.

    Biases and normalisation do not decay, nor does what the backbone exempts (position embeddings). Layers of the
    backbone learn more slowly the further they are from its end, by ``recipe.layer_decay``; the heads at full rate.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``lr_scale``.
    """
    exempt: set[str] = set(getattr(model.tail, "no_weight_decay", set)())
    groups: list[dict[str, Any]]
    if recipe.layer_decay < 1:
        groups = param_groups_layer_decay(
            model.tail, recipe.weight_decay, no_weight_decay_list=exempt, layer_decay=recipe.layer_decay
        )
        # The heads are the layer after the backbone's last.
        groups = [{**group, "lr_scale": group["lr_scale"] * recipe.layer_decay} for group in groups]
    else:
        groups = param_groups_weight_decay(model.tail, recipe.weight_decay, no_weight_decay_list=exempt)
    for head in (model.classifier, model.projection, loss):
        if head is not None:
            groups += param_groups_weight_decay(head, recipe.weight_decay)
    return [{"lr_scale": 1.0, **group} for group in groups if group["params"]]


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
