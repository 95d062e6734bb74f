"""Image files to pixels, and what is wrong with those that are none."""

import hashlib
import io
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clce_bench.data.resizing import square

LARGEST = 100_000_000
"""Pixels of an image beyond which a small file may be meant to exhaust the memory."""
FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "MPO": (".mpo",),
    "PCX": (".pcx",),
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb"),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Formats that are read, by Pillow's names, with the endings of their files. Others of Pillow's formats are no
photographs, or are handed to other programs, as PostScript is to Ghostscript."""

_DEEPEST = 65_535


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
        path: of one of the :data:`FORMATS`, whatever its ending.
        size: height and width in pixels.

    Raises:
        DamagedImage: it is missing, damaged, no image, or above :data:`LARGEST`.
    """
    if not path.is_file():
        reason = "is not a file" if path.exists() else "No such file or directory"
        raise DamagedImage(f"{path}: {reason}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedImage(f"{path}: {error.strerror}") from None
    pixels = np.asarray(square(_open(io.BytesIO(content), path), size))
    return Decoded(pixels, hashlib.sha256(content).hexdigest())


def open_image(path: Path) -> Image.Image:
    """Reads an image file at its own size, upright, RGB, what is transparent on white.

    Raises:
        DamagedImage: it is missing, damaged, no image, or above :data:`LARGEST`.
    """
    return _open(path, path)


def _open(source: Path | io.BytesIO, path: Path) -> Image.Image:
    try:
        with Image.open(source, formats=_known_formats()) as opened:
            width, height = opened.size
            if width * height > LARGEST:
                raise DamagedImage(f"{path}: {width} × {height} pixels; allowed: at most {LARGEST:,}")
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):
                return _shallow(image, opened.format).convert("RGB")
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
            return image.convert("RGB")
    except DamagedImage:
        raise
    except Exception as error:  # A decoder may raise anything for a file that was made to break it.
        # Pillow's message has the object's address, which would make equal results differ.
        reason = re.sub(r" <[^>]* at 0x[0-9a-fA-F]+>", "", str(error)) or type(error).__name__
        raise DamagedImage(f"{path}: cannot be decoded ({reason})") from None


def _shallow(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scales grey of 16 bits, or of fractions from 0 to 1, to 8 bits: ``convert`` would cut off what is above 255.

    Raises:
        ValueError: the range is not known.
    """
    values = np.asarray(image)
    if image.mode == "F":
        lowest, highest, allowed = 0.0, 1.0, "fractions from 0 to 1"
    elif image.mode.startswith("I;16") or file_format == "PPM":  # Pillow scales all of PGM's ranges to this one.
        lowest, highest, allowed = 0, _DEEPEST, f"0 to {_DEEPEST}"
    else:
        raise ValueError("grey of 32 bits, whose range is not known; save it with 8 or 16")
    if not (values.min() >= lowest and values.max() <= highest):  # Also when it is not a number.
        raise ValueError(f"grey from {values.min():g} to {values.max():g}; allowed: {allowed}")
    return Image.fromarray(np.round(values * (255 / highest)).astype(np.uint8))


@cache
def _known_formats() -> tuple[str, ...]:
    """Lists the formats that the installed Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
