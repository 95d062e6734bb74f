"""Architectures of the papers, shrunk: registered with timm, so that they go through the code of the large ones."""

from typing import Any

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer, beit3_base_patch16_224


@register_model
def beit3_shrunk(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """BEiT-3 with two blocks of 32 dimensions on images of 32 pixels in patches of 8."""
    small = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 32, "patch_size": 8}
    cfg = {"input_size": (3, 32, 32), "fixed_input_size": True, "num_classes": 10, "classifier": "head"}
    overlay = options.pop("pretrained_cfg_overlay", None) or cfg
    return beit3_base_patch16_224(pretrained, **{**small, **options, "pretrained_cfg_overlay": overlay})
