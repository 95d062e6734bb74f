"""Augmented views: view ``v`` of image ``i`` is the same picture wherever it is asked for."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from clce_bench.config import Augmentation
from clce_bench.seeds import seed_for

CLEAN = -1
"""The view that is the image as it is."""


def build_transform(augmentation: Augmentation, size: int) -> v2.Transform:
    """Builds torchvision's transform for PIL images; it draws from torch's global generator."""
    jitter = augmentation.color_jitter
    return v2.Compose(
        [
            v2.RandomRotation(augmentation.rotation, v2.InterpolationMode.BILINEAR, fill=255),
            v2.RandomResizedCrop(size, scale=(augmentation.crop_scale, 1.0)),
            v2.RandomHorizontalFlip(augmentation.flip),
            v2.ColorJitter(jitter, jitter, jitter),
            v2.RandomGrayscale(augmentation.grayscale),
        ]
    )


class Views:
    """Deterministic augmented views of a data set.

    Args:
        pixels: uint8, (images, size, size, 3).
        augmentation: what may change.
        name: the data set's name, an axis of the seed.
    """

    def __init__(self, pixels: np.ndarray, augmentation: Augmentation, name: str) -> None:
        self.pixels = pixels
        self.name = name
        self.transform = build_transform(augmentation, pixels.shape[1])

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> Tensor:
        """Returns view ``views[k]`` of image ``rows[k]`` for all k: uint8, (k, 3, size, size)."""
        return torch.stack([self._one(int(row), int(view)) for row, view in zip(rows, views, strict=True)])

    def _one(self, row: int, view: int) -> Tensor:
        image = Image.fromarray(self.pixels[row])
        if view == CLEAN:
            return torch.as_tensor(pil_to_tensor(image))
        # torchvision's transforms take no generator; a forked global one with a derived seed does the same.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("view", dataset=self.name, image=row, view=view))
            return torch.as_tensor(pil_to_tensor(self.transform(image)))
