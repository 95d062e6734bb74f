"""timm models, built and adapted as an experiment asks for."""

from typing import Any

import timm
import torch
from timm.layers import DropPath, to_2tuple
from timm.models.resnet import ResNet
from torch import nn

from clce_bench.errors import UserError, unknown


def create_model(name: str, small_stem: bool = False, **options: Any) -> Any:
    """Builds a timm model with random weights.

    Args:
        name: as timm lists it.
        small_stem: for a ResNet, a 3×3 stem of stride 1 without pooling, as is usual for images of 32 pixels.
        options: passed on to timm.

    Raises:
        UserError: there is no such model, or it has no stem that could be replaced.
    """
    _check_name(name)
    model: Any = timm.create_model(name, **options)
    if small_stem:
        stem: Any = getattr(model, "conv1", None)
        if not isinstance(stem, nn.Conv2d) or ResNet not in type(model).mro():
            raise UserError(f"backbone.small_stem: true is not allowed for {name}. Allowed: ResNets such as resnet18.")
        small = nn.Conv2d(stem.in_channels, stem.out_channels, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
        model.add_module("conv1", small)
        model.add_module("maxpool", nn.Identity())
    return model


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(f"backbone.name: {unknown('a timm model', name, timm.list_models(), 'See timm.list_models()')}")
    known = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in known:
        listing = f"Allowed: {', '.join([architecture, *known])}"
        raise UserError(f"backbone.name: {unknown('a timm model', name, known, listing)}")


def empty_backbone(name: str, small_stem: bool, drop_path: float) -> Any:
    """Builds a timm model with stochastic depth.

    Raises:
        UserError: the model has none.
    """
    if not drop_path:
        return create_model(name, small_stem)
    refused = UserError(f"recipe.drop_path: {drop_path:g} is not allowed: {name} has no stochastic depth. Allowed: 0.")
    try:
        model = create_model(name, small_stem, drop_path_rate=drop_path)
    except TypeError:
        raise refused from None
    if not any(getattr(module, "drop_prob", 0) for module in model.modules() if isinstance(module, DropPath)):
        raise refused
    return model


def fit_to_size(model: Any, name: str, size: int) -> None:
    """Lets a model take images of another size than the one it was made for.

    Args:
        model: the timm model with its weights; its position embeddings are resized by timm.
        name: what it is called, for the message.
        size: height and width in pixels.

    Raises:
        UserError: the model cannot take it.
    """
    own = model.pretrained_cfg["input_size"][-1]
    if model.pretrained_cfg.get("fixed_input_size") and size != own:
        patch = to_2tuple(getattr(getattr(model, "patch_embed", None), "patch_size", 1))[0]
        adapts = hasattr(model, "set_input_size")
        allowed = f"multiples of {patch}" if adapts else str(own)
        if not adapts or size % patch:
            raise UserError(f"datasets: size: {size} is not allowed for {name}. Allowed: {allowed}.")
        model.set_input_size(img_size=(size, size))
    _try_size(model, name, size)


@torch.no_grad()
def _try_size(model: Any, name: str, size: int) -> None:
    """Some models only show by their forward pass that images are too small: of the last map nothing is left."""
    training = model.training
    try:
        model.eval()(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    except (RuntimeError, ValueError, AssertionError) as error:
        own = model.pretrained_cfg["input_size"][-1]
        raise UserError(f"datasets: size: {size} is not allowed for {name}, made for {own}: {error}") from None
    finally:
        model.train(training)


def checkpoint_gradients(model: Any, name: str) -> None:
    """Makes a model compute its activations again in the backward pass.

    Raises:
        UserError: timm cannot do so for this model.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        raise UserError(f"runtime.gradient_checkpointing: timm cannot do so for {name}. Allowed: false.") from None
