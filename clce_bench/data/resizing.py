"""Images, scaled to squares."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def square(image: Image.Image, size: int) -> Image.Image:
    """Scales an image to a square with bilinear interpolation; its proportions change."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def squares(images: Iterable[NDArray[np.uint8]], count: int, size: int) -> NDArray[np.uint8]:
    """Scales the arrays of small images, and repeats the grey of those without colours.

    Args:
        images: uint8, each (height, width) or (height, width, 3).
        count: how many there are.
        size: height and width to make.

    Returns:
        uint8, (count, size, size, 3).
    """
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for row, image in zip(pixels, images, strict=True):
        row[...] = np.asarray(square(Image.fromarray(image).convert("RGB"), size))
    return pixels
