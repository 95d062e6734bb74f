"""A trained cell as a folder that timm and the Hugging Face Hub take: weights, configuration, model card."""

from pathlib import Path
from typing import Any

import torch
from timm.models import save_for_hf
from torch import nn

from clce_bench.errors import UserError
from clce_bench.files import read_json, staged, write_text
from clce_bench.inference.model_card import model_card
from clce_bench.inference.trained_cell import TrainedCell
from clce_bench.models.backbone import load_backbone
from clce_bench.models.heads import CosineClassifier

OTHERWISE = "Use it by clce_bench.load_cell, or clce-bench predict"


def export_cell(trained: TrainedCell, folder: Path) -> str:
    """Writes what ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads, and a model card.

    The model takes images as timm's own transform of its configuration makes them: scaled to the cell's square size by
    bilinear interpolation, and standardised.

    Args:
        trained: the cell.
        folder: gets ``config.json``, ``model.safetensors`` and ``README.md``; made if missing.

    Returns:
        Where its logits come from: ``classifier``; ``linear probe`` for a cell without a classifier; ``none`` for one
        that has neither, whose model computes features.

    Raises:
        UserError: the folder has other files of these names, or timm cannot build this network by its name.
    """
    if any((folder / name).exists() for name in ("config.json", "model.safetensors", "README.md")):
        raise UserError(f"{folder}: it has a model or a README.md already. Name another folder.")
    description = read_json(trained.inputs["backbone"])
    if description["small_stem"]:
        raise UserError(
            f"{trained.directory}: timm has no {description['name']} with backbone.small_stem. {OTHERWISE}."
        )
    model, source = _model(trained)
    config = {
        "input_size": (3, trained.cell.size, trained.cell.size),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": tuple(description["mean"]),
        "std": tuple(description["std"]),
    }
    for other in ("test_input_size", "test_crop_pct", "url", "hf_hub_id", "tag", "license"):
        model.pretrained_cfg.pop(other, None)  # They belong to the weights that timm has of this model.
    labels = {"label_names": trained.classes} if source != "none" else {}
    resized = model.pretrained_cfg.get("fixed_input_size") and hasattr(model, "set_input_size")
    size = {"img_size": trained.cell.size} if resized else {}
    with staged(folder, last="config.json") as place:
        write_text(place / "README.md", model_card(trained, source))
        save_for_hf(model, str(place), {"pretrained_cfg": config, **labels}, size, safe_serialization=True)
    return source


def _model(trained: TrainedCell) -> tuple[Any, str]:
    """Builds timm's whole model with what was trained in its place; says where its classifier is from."""
    model: Any = load_backbone(trained.inputs["backbone"].parent, trained.cell.size)
    head: Any = trained.module.head
    # Parts of a cut model keep the names that they have in the whole one.
    tail = {name: tensor.cpu() for name, tensor in head.tail.state_dict().items()}
    foreign = model.load_state_dict(tail, strict=False).unexpected_keys
    if foreign:
        raise UserError(f"{trained.directory}: timm's model has no {', '.join(foreign[:5])}. {OTHERWISE}.")
    if isinstance(head.classifier, CosineClassifier):
        raise UserError(f"{trained.directory}: timm's models have no cosine classifier. {OTHERWISE}.")
    if head.classifier is not None:
        weight, bias, source = head.classifier.weight.cpu(), head.classifier.bias.cpu(), "classifier"
    else:
        try:
            weights, biases = trained.probe
        except UserError:
            return model, "none"
        weight, bias, source = torch.from_numpy(weights).T, torch.from_numpy(biases), "linear probe"
    model.reset_classifier(len(trained.classes))
    layer = model.get_classifier()
    if not isinstance(layer, nn.Linear) or layer.weight.shape != weight.shape:
        raise UserError(f"{trained.directory}: timm's classifier of this model is no linear layer. {OTHERWISE}.")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return model.eval(), source
