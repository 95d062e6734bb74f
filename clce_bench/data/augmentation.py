"""Augmented views: view ``v`` of image ``i`` is the same picture wherever it is asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from clce_bench.data.decode import resized
from clce_bench.data.prepared import PreparedDataset
from clce_bench.recipes import Augmentation
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
        dataset: the prepared data set; its name is an axis of the seed.
        augmentation: what may change.
    """

    def __init__(self, dataset: PreparedDataset, augmentation: Augmentation) -> None:
        self.dataset = dataset
        self.name, self.size = dataset.description["name"], dataset.description["size"]
        self.transform = build_transform(augmentation, self.size)

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> Tensor:
        """Returns view ``views[k]`` of image ``rows[k]`` for all k: uint8, (k, 3, size, size)."""
        if self.dataset.files is None and all(view == CLEAN for view in views):
            return torch.from_numpy(self.dataset.pixels[list(rows)]).permute(0, 3, 1, 2)
        # torchvision's transforms take no generator; a forked global one with a derived seed does the same.
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._one(int(row), int(view)) for row, view in zip(rows, views, strict=True)])

    def _one(self, row: int, view: int) -> Tensor:
        image = self.dataset.image(row)
        if view == CLEAN:
            return torch.as_tensor(pil_to_tensor(resized(image, self.size)))
        # Not torch.manual_seed: it seeds every kind of device, which takes as long as the transforms.
        torch.default_generator.manual_seed(seed_for("view", dataset=self.name, image=row, view=view))
        return torch.as_tensor(pil_to_tensor(self.transform(image)))
