"""Small images, brought to a size."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resized(images: Iterable[NDArray[np.uint8]], count: int, size: int) -> NDArray[np.uint8]:
    """Scales images with bilinear interpolation, and repeats the grey of those without colours.

    Args:
        images: uint8, each (height, width) or (height, width, 3).
        count: how many there are.
        size: height and width to make.

    Returns:
        uint8, (count, size, size, 3).
    """
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for row, image in zip(pixels, images, strict=True):
        row[...] = np.asarray(Image.fromarray(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    return pixels
