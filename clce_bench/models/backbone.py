"""A timm model as an experiment asks for it, cut into a frozen trunk and a trainable tail."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from timm.models._features_fx import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from clce_bench.errors import UserError, unknown
from clce_bench.files import read_json
from clce_bench.models.create import checkpoint_gradients, empty_backbone, fit_to_size


def load_backbone(
    directory: Path, size: int, drop_path: float = 0.0, gradient_checkpointing: bool = False
) -> nn.Module:
    """Builds the timm model that the ``backbone`` stage stored, without its classifier.

    Args:
        directory: what the ``backbone`` stage filled.
        size: height and width of the images in pixels; position embeddings are resized to it.
        drop_path: largest rate of stochastic depth.
        gradient_checkpointing: compute activations again in the backward pass.

    Returns:
        A module from normalised images (images, 3, height, width) to features (images, features).

    Raises:
        UserError: the model cannot take images of this size, has no stochastic depth, or cannot compute again.
    """
    description = read_json(directory / "backbone.json")
    model = empty_backbone(description["name"], description["small_stem"], drop_path)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    fit_to_size(model, description["name"], size)
    model.reset_classifier(0)
    if gradient_checkpointing:
        checkpoint_gradients(model, description["name"])
    backbone: nn.Module = model.eval()
    return backbone


def split_backbone(model: nn.Module, freeze: str) -> tuple[nn.Module, nn.Module]:
    """Cuts a model after a module.

    Args:
        model: from images to features.
        freeze: name of the trunk's last module; ``none`` for an empty trunk, ``all`` for an empty tail.

    Returns:
        Trunk and tail; one after the other they compute what the model does. The tail keeps the model's parameters.

    Raises:
        UserError: no such module, or something after it needs more than its output.
    """
    if freeze == "none":
        return nn.Identity(), model
    if freeze == "all":
        return model, nn.Identity()
    tracer = NodePathTracer(leaf_modules=list(get_notrace_modules()), autowrap_functions=tuple(get_notrace_functions()))
    graph = tracer.trace(model)
    paths = tracer.node_to_qualname
    cuts = [node for node in graph.nodes if f"{paths.get(node, '')}.".startswith(f"{freeze}.")]
    if not cuts:
        names = [name for name, _ in model.named_modules() if name]
        listing = f"Modules: {', '.join(name for name in names if '.' not in name)}, or one inside"
        raise UserError(f"backbone.freeze: {unknown('a module of the backbone', freeze, names, listing)}")
    cut = cuts[-1].name
    tail = _tail(fx.GraphModule(model, graph), cut, freeze)
    trunk = _trunk(fx.GraphModule(copy.deepcopy(model), tracer.trace(model)), cut)
    return trunk.eval().requires_grad_(False), tail


def _trunk(module: fx.GraphModule, cut: str) -> nn.Module:
    output = next(node for node in module.graph.nodes if node.op == "output")
    output.args = (next(node for node in module.graph.nodes if node.name == cut),)
    return _pruned(module)


def _tail(module: fx.GraphModule, cut: str, freeze: str) -> nn.Module:
    graph = module.graph
    node = next(node for node in graph.nodes if node.name == cut)
    with graph.inserting_before(next(iter(graph.nodes))):
        entry = graph.placeholder("trunk_output")
    node.replace_all_uses_with(entry)
    tail = _pruned(module)
    # Placeholders with a default are optional arguments of the model.
    if any(node.op == "placeholder" and node is not entry and not node.args for node in graph.nodes):
        raise UserError(f"backbone.freeze: {freeze!r}: later modules need more than its output; choose a later module.")
    return tail


def _pruned(module: fx.GraphModule) -> nn.Module:
    # Not eliminate_dead_code(): it keeps assertions on the shape of images that are no longer an input.
    needed = [next(node for node in module.graph.nodes if node.op == "output")]
    for node in needed:
        needed.extend(other for other in node.all_input_nodes if other not in needed)
    for node in reversed(module.graph.nodes):
        if node not in needed:
            module.graph.erase_node(node)
    module.recompile()
    module.delete_all_unused_submodules()
    read = {node.target for node in needed if node.op == "get_attr"}
    for name, _ in list(module.named_parameters(recurse=False)):
        if name not in read:
            delattr(module, name)
    return module


def standardise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Turns uint8 images (images, 3, height, width) into what the backbone was trained on, float32."""
    shape = (1, 3, 1, 1)
    centre = torch.tensor(mean, device=images.device).view(shape)
    spread = torch.tensor(std, device=images.device).view(shape)
    return (images.float() / 255 - centre) / spread
