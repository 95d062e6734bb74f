"""What a backbone costs per image: operations, memory, sizes. Torch is imported only to count or to measure."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clce_bench.experiment.backbone_options import Backbone
from clce_bench.experiment.cells import Cell

if TYPE_CHECKING:
    import torch

LARGEST_BATCH = 128
"""Of a measurement, which takes smaller ones where a step is slow."""


@dataclass(frozen=True)
class Profile:
    """What one image costs a backbone that is cut into a frozen trunk and a trainable tail.

    Attributes:
        parameters: of the whole backbone, without a classifier.
        trained: of the tail.
        features: size of the feature.
        trunk: operations of the trunk; an addition and a multiplication are two.
        forward: operations of the tail.
        backward: operations of the tail's backward pass.
        activations: bytes that the tail keeps for its backward pass, in float32 and without fused attention.
        stored: bytes of the trunk's output.
    """

    parameters: int
    trained: int
    features: int
    trunk: float
    forward: float
    backward: float
    activations: int
    stored: int


def count(backbone: Backbone, size: int) -> Profile:
    """Counts on torch's meta device: no weights, no data, no GPU.

    Args:
        backbone: name, small stem and frozen part.
        size: height and width of the images in pixels.

    Raises:
        UserError: no such model, or one that cannot be cut there or take this size.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from clce_bench.models.backbone import split_backbone

    images = 2  # Batch normalisation of a single image has no variance.
    with torch.device("meta"):
        whole = _model(backbone, size)
        trunk, tail = split_backbone(whole, backbone.freeze)
        inputs = torch.zeros(images, 3, size, size)
    parameters = sum(parameter.numel() for parameter in whole.parameters())
    with FlopCounterMode(display=False) as trunk_counter, torch.no_grad():
        middle = trunk(inputs)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: "torch.Tensor") -> "torch.Tensor":
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with (
        FlopCounterMode(display=False) as forward_counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        features = tail.train()(middle)
    with FlopCounterMode(display=False) as backward_counter:
        if features.requires_grad:
            features.sum().backward()
    own = {parameter.untyped_storage()._cdata for parameter in tail.parameters()}
    return Profile(
        parameters=parameters,
        trained=sum(parameter.numel() for parameter in tail.parameters()),
        features=features.shape[1],
        trunk=trunk_counter.get_total_flops() / images,
        forward=forward_counter.get_total_flops() / images,
        backward=backward_counter.get_total_flops() / images,
        activations=sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own) // images,
        stored=middle[0].numel() * 4,
    )


def measure(cell: Cell, classes: int, device: "torch.device", seconds: float = 3.0) -> float:
    """Measures how fast a device takes training steps of a cell: a GPU, or one core, as a cell gets.

    Args:
        cell: its backbone, image size and precision count; its batch is smaller here.
        classes: of the classifier.
        device: where.
        seconds: for how long, at least.

    Returns:
        Operations per second, counted as in :func:`count`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from clce_bench.models.backbone import split_backbone
    from clce_bench.models.classifier import ContrastiveClassifier

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    backbone = _model(cell.backbone, cell.size)
    trunk, tail = split_backbone(backbone, cell.backbone.freeze)
    model = ContrastiveClassifier(tail, backbone.num_features, classes, 0.5, cell.recipe, seed=0).to(device).train()
    if cell.backbone.freeze == "none":
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    trunk.to(device)

    def step(inputs: "torch.Tensor") -> float:
        started = time.perf_counter()
        with torch.autocast(device.type, _dtype(cell), enabled=cell.recipe.precision != "float32"):
            outputs = model(inputs)
        sum(output.float().sum() for output in outputs[1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    def images(number: int) -> "torch.Tensor":
        with torch.no_grad():
            inputs: torch.Tensor = trunk(torch.rand(number, 3, cell.size, cell.size, device=device))
        return inputs

    number = 8
    step(images(number))  # The first one makes room and chooses kernels.
    while number < LARGEST_BATCH and step(images(number)) < seconds / 10:
        number *= 2
    inputs = images(number)
    with FlopCounterMode(display=False) as counter:
        step(inputs)
    steps, spent = 0, 0.0
    while spent < seconds:
        spent += step(inputs)
        steps += 1
    torch.set_num_threads(threads)
    operations: int = counter.get_total_flops()
    return steps * operations / spent


def _dtype(cell: Cell) -> "torch.dtype":
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[cell.recipe.precision]


def _model(backbone: Backbone, size: int) -> Any:
    from clce_bench.models.create import create_model, fit_to_size

    model = create_model(backbone.name, backbone.small_stem)
    fit_to_size(model, backbone.name, size)
    model.reset_classifier(0)
    return model
