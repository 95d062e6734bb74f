"""Image files to pixels, and what is wrong with those that are none."""

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 100_000_000
"""Pixels of an image beyond which a small file may be meant to exhaust the memory."""

# What Pillow raises for files that are damaged, not images, or far too large.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class DamagedImage(Exception):
    """An image file cannot be used; the message names it and says why."""


class Decoded(NamedTuple):
    """An image file's content.

    Attributes:
        pixels: uint8, (size, size, 3).
        checksum: SHA-256 of the file, hexadecimal.
    """

    pixels: NDArray[np.uint8]
    checksum: str


def decode(path: Path, size: int) -> Decoded:
    """Reads an image file and scales it to a square.

    Args:
        path: of any format that Pillow reads.
        size: height and width in pixels.

    Raises:
        DamagedImage: it is missing, damaged, no image, or above :data:`LARGEST`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedImage(f"{path}: {error.strerror}") from None
    pixels = np.asarray(resized(_open(io.BytesIO(content), path), size))
    return Decoded(pixels, hashlib.sha256(content).hexdigest())


def open_image(path: Path) -> Image.Image:
    """Reads an image file at its own size, RGB, what is transparent on white.

    Raises:
        DamagedImage: it is missing, damaged, no image, or above :data:`LARGEST`.
    """
    return _open(path, path)


def resized(image: Image.Image, size: int) -> Image.Image:
    """Scales an image to a square."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def _open(source: Path | io.BytesIO, path: Path) -> Image.Image:
    try:
        with Image.open(source) as image:
            width, height = image.size
            if width * height > LARGEST:
                raise DamagedImage(f"{path}: {width} × {height} pixels; allowed: at most {LARGEST:,}")
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
            return image.convert("RGB")
    except _DAMAGED as error:
        raise DamagedImage(f"{path}: cannot be decoded ({error})") from None
