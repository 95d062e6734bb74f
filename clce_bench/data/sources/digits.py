"""Handwritten digits, 8 × 8 pixels, which come with scikit-learn."""

import numpy as np
from PIL import Image

from clce_bench.data.dataset import Dataset, Images


def read_digits(size: int) -> Images:
    """Enlarges the digits, dark on white as on paper, and repeats their grey in three channels.

    Args:
        size: height and width in pixels.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = 255 - np.round(digits.images * (255 / 16)).astype("uint8")
    bilinear = Image.Resampling.BILINEAR
    enlarged = [np.asarray(Image.fromarray(image).resize((size, size), bilinear)) for image in grey]
    ids = [f"{index:04d}" for index in range(len(grey))]
    return Images(
        pixels=np.repeat(np.stack(enlarged)[..., None], 3, axis=3),
        ids=ids,
        classes=[str(label) for label in digits.target],
        groups=ids,
    )


DIGITS = Dataset(
    name="digits",
    images="digits",
    task="classification",
    read=read_digits,
    train_images=1076,
    source="scikit-learn's load_digits, the test part of UCI's Optical Recognition of Handwritten Digits",
    licence="BSD-3-Clause (scikit-learn), CC BY 4.0 (UCI)",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998",
    class_count=10,
    image_count=1797,
)
