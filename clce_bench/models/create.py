"""timm models, built and adapted as an experiment asks for."""

from typing import Any

import timm
from timm.layers import DropPath
from timm.models.resnet import ResNet
from torch import nn

from clce_bench.errors import UserError


def create_model(name: str, small_stem: bool = False, **options: Any) -> Any:
    """Builds a timm model with random weights.

    Args:
        name: as timm lists it.
        small_stem: for a ResNet, a 3×3 stem of stride 1 without pooling, as is usual for images of 32 pixels.
        options: passed on to timm.

    Raises:
        UserError: the model has no stem that could be replaced.
    """
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
    if not model.pretrained_cfg.get("fixed_input_size") or size == own:
        return
    patch = model.patch_embed.patch_size[0] if hasattr(model, "patch_embed") else 1
    if not hasattr(model, "set_input_size") or size % patch:
        allowed = f"multiples of {patch}" if hasattr(model, "set_input_size") else str(own)
        raise UserError(f"datasets: size: {size} is not allowed for {name}. Allowed: {allowed}.")
    model.set_input_size(img_size=(size, size))


def checkpoint_gradients(model: Any, name: str) -> None:
    """Makes a model compute its activations again in the backward pass.

    Raises:
        UserError: timm cannot do so for this model.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        raise UserError(f"runtime.gradient_checkpointing: timm cannot do so for {name}. Allowed: false.") from None
