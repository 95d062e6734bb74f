"""What happens to one image in one view, drawn as torchvision's transforms draw it."""

from typing import NamedTuple

import torch
from torchvision.transforms import v2

COLOURS = ("brightness", "contrast", "saturation", "hue")
"""Changes of colour in the order in which torchvision numbers them."""


class View(NamedTuple):
    """What happens to one image, in this order.

    Attributes:
        angle: of a rotation about the centre, counter-clockwise, in degrees; white comes in.
        crop: left, top, width and height of the part that is scaled to the square.
        shift: how far, right and down in pixels, the frame is moved over the square; black comes in.
        flip: whether it is mirrored.
        colours: names from :data:`COLOURS` with factors, as torchvision's; saturation 0 is grey.
    """

    crop: tuple[int, int, int, int]
    angle: float = 0.0
    shift: tuple[int, int] = (0, 0)
    flip: bool = False
    colours: tuple[tuple[str, float], ...] = ()


def draw_view(transform: v2.Compose, width: int, height: int, size: int) -> View:
    """Draws from torch's global generator what the transform would draw for an image, step by step.

    Args:
        transform: of :func:`clce_bench.data.augmentation.build_transform`, without a policy or erasing.
        width: of the image.
        height: of the image.
        size: of the square to make.
    """
    view = View((0, 0, width, height))
    for step in transform.transforms:
        if isinstance(step, v2.RandomRotation):
            view = view._replace(angle=step.make_params([])["angle"])
        elif isinstance(step, v2.RandomResizedCrop):
            drawn = step.make_params([torch.empty(3, height, width, device="meta")])
            view = view._replace(crop=tuple(drawn[key] for key in ("left", "top", "width", "height")))
        elif isinstance(step, v2.RandomCrop):
            drawn = step.make_params([torch.empty(3, size, size, device="meta")])
            left, top, *_ = drawn["padding"]
            view = view._replace(shift=(drawn["left"] - left, drawn["top"] - top))
        elif isinstance(step, v2.RandomHorizontalFlip):
            view = view._replace(flip=bool(torch.rand(1) < step.p))
        elif isinstance(step, v2.ColorJitter):
            view = view._replace(colours=_drawn_colours(step))
        elif isinstance(step, v2.RandomApply) and torch.rand(1) < step.p:
            view = view._replace(colours=_drawn_colours(step.transforms[0]))
        elif isinstance(step, v2.RandomGrayscale) and torch.rand(1) < step.p:
            view = view._replace(colours=(*view.colours, ("saturation", 0.0)))
    return view


def _drawn_colours(jitter: v2.ColorJitter) -> tuple[tuple[str, float], ...]:
    drawn = jitter.make_params([])
    ordered = [COLOURS[place] for place in drawn["fn_idx"].tolist()]
    return tuple((name, drawn[f"{name}_factor"]) for name in ordered if drawn[f"{name}_factor"] is not None)
