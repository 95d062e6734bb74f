"""What a data set is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """Decoded images with their labels.

    Attributes:
        pixels: uint8, (images, size, size, 3).
        ids: a unique name per image.
        classes: the class name of each image.
        groups: images with the same group are near-copies and stay on one side of a split.
    """

    pixels: NDArray[np.uint8]
    ids: list[str]
    classes: list[str]
    groups: list[str]


@dataclass(frozen=True)
class Dataset:
    """A data set: where its images come from and how it is meant to be used.

    Attributes:
        name: the name in experiment files.
        images: name of the data set whose images it uses; its own name but for re-splits of another set.
        task: ``classification`` (all classes in all parts) or ``few-shot`` (disjoint classes).
        read: decodes all images at a size in pixels.
        train_images: images in the training part of the default split.
        source: where the images come from.
        licence: their licence.
        citation: whom to credit.
        overlap: whether ImageNet pre-training has seen these images, and which classes.
    """

    name: str
    images: str
    task: Literal["classification", "few-shot"]
    read: Callable[[int], Images]
    train_images: int
    source: str
    licence: str
    citation: str
    overlap: str
