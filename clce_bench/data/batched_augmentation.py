"""Augmentation of whole batches, on whatever device they lie.

What the pixels become is a pure function of the image and of what was drawn for the view; no view depends on the batch
that it is in.
"""

import cmath
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from clce_bench.data.view_parameters import COLOURS, View

_MOST = len(COLOURS) + 1
"""Changes of colour of one view: each once, and at last the loss of all colours."""


class Change(NamedTuple):
    """A view, worked out.

    Attributes:
        box: the part of the image that becomes the square to change: left, top, right, bottom in its pixels.
        warp: mirror, shifts, margins and the rest of the way from a pixel of the view to its source, 11 numbers.
        colours: for each step the shares of the picture, its mean grey and its grey, and the turn of the hue.
    """

    box: tuple[float, float, float, float]
    warp: list[float]
    colours: list[tuple[float, float, float, float]]


class Changes(NamedTuple):
    """Those of a batch.

    Attributes:
        warp: float32, (k, 11).
        colours: float32, (k, 5, 4).
    """

    warp: Tensor
    colours: Tensor

    @classmethod
    def of(cls, changes: Sequence[Change]) -> "Changes":
        """Puts the changes of single images together."""
        idle = (1.0, 0.0, 0.0, 0.0)
        colours = [[*change.colours, *[idle] * (_MOST - len(change.colours))] for change in changes]
        return cls(torch.tensor([change.warp for change in changes]), torch.tensor(colours))


def work_out(view: View, width: int, height: int, size: int) -> Change:
    """Works out which part of an image a view needs, and what is to be done to that part as a square.

    An image that is such a square stays whole, so that nothing is scaled twice; of others the part that the view shows
    is scaled from all their pixels.

    Args:
        view: what happens to it.
        width: of the image.
        height: of the image.
        size: of the square.
    """
    left, top, wide, high = view.crop
    # Places are complex numbers, x + iy: turning the picture multiplies the way from its centre by another one.
    centre, turn = complex(width, height) / 2, cmath.rect(1, math.radians(view.angle))
    box = (0.0, 0.0, float(width), float(height))
    if not width == height == size:
        corners = [complex(x, y) for x in (left, left + wide) for y in (top, top + high)]
        found = [turn * (corner - centre) + centre for corner in corners]
        xs, ys = [corner.real for corner in found], [corner.imag for corner in found]
        part = (max(0.0, min(xs)), max(0.0, min(ys)), min(float(width), max(xs)), min(float(height), max(ys)))
        # A crop may be turned out of a long picture: whatever the square is then, all of the view lies beside it.
        box = part if part[0] < part[2] and part[1] < part[3] else box
    # Pixel (s, t) of the square is at across · s + down · t + start.
    across, down = turn * wide / size, turn * 1j * high / size
    start = turn * (complex(left, top) - centre) + centre + (across + down) / 2 - complex(box[0], box[1])
    x_unit, y_unit = 2 / (box[2] - box[0]), 2 / (box[3] - box[1])
    warp = [
        *(-1.0 if view.flip else 1.0, (size - 1.0 if view.flip else 0.0) + view.shift[0], view.shift[1]),
        # A crop that is enlarged ends with its own pixels.
        *(max(0.0, (size / length - 1) / 2) for length in (wide, high)),
        *(x_unit * across.real, x_unit * down.real, x_unit * start.real - 1),
        *(y_unit * across.imag, y_unit * down.imag, y_unit * start.imag - 1),
    ]
    return Change(box, warp, [_step(name, factor) for name, factor in view.colours])


def _step(name: str, factor: float) -> tuple[float, float, float, float]:
    if name == "hue":
        return 1.0, 0.0, 0.0, factor
    return factor, (1 - factor) * (name == "contrast"), (1 - factor) * (name == "saturation"), 0.0


def change(pixels: Tensor, changes: Changes) -> Tensor:
    """Changes a batch.

    Args:
        pixels: uint8, (k, 3, size, size), on any device.
        changes: on the CPU, so that nothing has to be asked of the device.

    Returns:
        uint8, (k, 3, size, size), on the device of the pixels.
    """
    # A CPU is fastest with what fits its cache; a GPU wants to be busy, and has only so much memory.
    at_once = 2**19 if pixels.device.type == "cpu" else 2**25
    rows = max(1, at_once // pixels[0].numel())
    changed = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for start in range(0, len(pixels), rows):
        some = slice(start, start + rows)
        warp = changes.warp[some].to(pixels.device, non_blocking=True)
        pictures = _warped(pixels[some].float().contiguous(), warp)
        pictures = _coloured(pictures, changes.colours[some])
        changed[some] = pictures.round_().clamp_(0, 255).to(torch.uint8)
    return changed


def _warped(pictures: Tensor, warp: Tensor) -> Tensor:
    size = pictures.shape[-1]
    mirror, x_shift, y_shift, x_margin, y_margin = warp[:, :5, None].unbind(1)
    place = torch.arange(size, dtype=torch.float32, device=pictures.device)
    x, y = mirror * place + x_shift, place + y_shift
    inside = ((x >= 0) & (x < size))[:, None, None, :] & ((y >= 0) & (y < size))[:, None, :, None]
    last = size - 1
    x = torch.minimum(torch.maximum(x, x_margin), last - x_margin)[:, None, :, None]
    y = torch.minimum(torch.maximum(y, y_margin), last - y_margin)[:, :, None, None]
    x_factors, y_factors, offsets = warp[:, 5:].view(-1, 1, 1, 2, 3).unbind(-1)
    grid = x_factors * x + y_factors * y + offsets
    # Outside there is zero; of the negative, that is white.
    return (255 - grid_sample(255 - pictures, grid, align_corners=False)).mul_(inside)


def _coloured(pictures: Tensor, colours: Tensor) -> Tensor:
    """Takes one step after the other; views that need fewer than others wait for them unchanged."""
    for step, values in enumerate(colours.numpy().swapaxes(0, 1)):
        if not (values != (1, 0, 0, 0)).any():
            continue
        own, mean, shade, _ = colours[:, step].to(pictures.device, non_blocking=True)[:, :, None, None].unbind(1)
        red, green, blue = pictures.unbind(1)
        grey = 0.2989 * red + 0.587 * green + 0.114 * blue
        # Summed as integers, so that no order of adding up can tell.
        total = (256 * grey).round().to(torch.int32).sum((1, 2), keepdim=True, dtype=torch.int64)
        other = mean * (total / (256 * grey[0].numel())) + shade * grey
        pictures = (own[:, None] * pictures + other[:, None]).clamp_(0, 255)
        if (turned := np.flatnonzero(values[:, 3])).size:
            rows, turns = (torch.from_numpy(own) for own in (turned, values[turned, 3]))
            rows, turns = (own.to(pictures.device, non_blocking=True) for own in (rows, turns))
            pictures.index_copy_(0, rows, _with_hue(pictures[rows], turns))
    return pictures


def _with_hue(pictures: Tensor, turns: Tensor) -> Tensor:
    """Turns each picture's hues by a share of the circle; value and chroma stay."""
    red, green, blue = pictures.unbind(1)
    value, lowest = pictures.amax(1), pictures.amin(1)
    chroma = value - lowest
    unit = torch.where(chroma > 0, chroma, 1)
    from_green = torch.where(value == green, 2 + (blue - red) / unit, 4 + (red - green) / unit)
    sector = torch.where(value == red, (green - blue) / unit, from_green) + 6 * turns[:, None, None]
    # The three channels are the same zigzag, a third of the circle apart.
    place = (sector[:, None] + torch.arange(5, 0, -2, device=pictures.device)[:, None, None]).remainder(6)
    return value[:, None] - chroma[:, None] * torch.minimum(place, 4 - place).clamp_(0, 1)
