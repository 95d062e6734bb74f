"""What a backbone costs per image: operations, memory, sizes. Torch is imported only to count."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from clce_bench.experiment.backbone_options import Backbone

if TYPE_CHECKING:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

COUNT = 2
"""Which way of counting: counts that were kept are those of the same."""


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


class Speed(NamedTuple):
    """How fast a device is with a backbone.

    Attributes:
        training: operations per second in training steps, counted as here.
        view: seconds that an augmented view takes, and the frozen trunk on it.
    """

    training: float
    view: float


def count(backbone: Backbone, size: int) -> Profile:
    """Counts on torch's meta device: no weights, no data, no GPU.

    Args:
        backbone: name, small stem and frozen part.
        size: height and width of the images in pixels.

    Raises:
        UserError: no such model, or one that cannot be cut there or take this size.
    """
    import torch

    from clce_bench.models.backbone import split_backbone

    images = 2  # Batch normalisation of a single image has no variance.
    with torch.device("meta"):
        whole = bare_model(backbone, size)
        trunk, tail = split_backbone(whole, backbone.freeze)
        inputs = torch.zeros(images, 3, size, size)
    parameters = sum(parameter.numel() for parameter in whole.parameters())
    with counter() as trunk_counter, torch.no_grad():
        middle = trunk(inputs)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: "torch.Tensor") -> "torch.Tensor":
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with (
        counter() as forward_counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        features = tail.train()(middle)
    with counter() as backward_counter:
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


def counter() -> "FlopCounterMode":
    """Gives torch's counter of operations, with the backward pass of grouped convolutions counted as it is.

    Torch's own formula takes the gradient of their weights for that of a dense convolution, which for a depthwise one
    is as many times too much as it has channels.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    backward = torch.ops.aten.convolution_backward
    return FlopCounterMode(display=False, custom_mapping={backward: _convolution_backward})


def _convolution_backward(
    gradient: Any, inputs: Any, weights: Any, *arguments: Any, out_shape: Any = None, **_: Any
) -> int:
    """Counts what the gradients of inputs and of weights take, each as much as the forward pass."""
    transposed, wanted = arguments[4], arguments[7]
    places = inputs if transposed else gradient
    return int(2 * prod(places) * prod(weights[1:]) * sum(wanted[:2]))


def bare_model(backbone: Backbone, size: int) -> Any:
    """Builds a backbone with random weights, without a classifier, for images of a size."""
    from clce_bench.models.create import create_model, fit_to_size

    model = create_model(backbone.name, backbone.small_stem)
    fit_to_size(model, backbone.name, size)
    model.reset_classifier(0)
    return model
