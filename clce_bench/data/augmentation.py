"""Augmented views: view ``v`` of image ``i`` is the same picture wherever it is asked for."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from clce_bench.data.batched_augmentation import Change, Changes, change, work_out
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.resizing import square
from clce_bench.data.view_parameters import View, draw_view
from clce_bench.experiment.recipes import Augmentation
from clce_bench.seeds import seed_for

CLEAN = -1
"""The view that is the image as it is."""
SUPPORT_VIEWS = 5
"""Augmented views of each image that may support a few-shot episode, as in the papers' protocol."""


def build_transform(augmentation: Augmentation, size: int) -> v2.Transform:
    """Builds the transform from PIL images to uint8 tensors (3, size, size).

    It draws from torch's global generator, and with a policy or erasing also from Python's and numpy's.
    """
    jitter = augmentation.color_jitter
    colours = v2.ColorJitter(jitter, jitter, jitter, augmentation.hue)
    steps: list[Any] = [
        v2.RandomRotation(augmentation.rotation, v2.InterpolationMode.BILINEAR, fill=255),
        v2.RandomResizedCrop(size, scale=(augmentation.crop_scale, 1.0)),
        v2.RandomCrop(size, padding=augmentation.crop_padding) if augmentation.crop_padding else None,
        v2.RandomHorizontalFlip(augmentation.flip),
        _policy(augmentation.auto_augment, size) if augmentation.auto_augment else None,
        v2.RandomApply([colours], p) if (p := augmentation.color_jitter_probability) < 1 else colours,
        v2.RandomGrayscale(augmentation.grayscale),
        pil_to_tensor,
        _Erasing(augmentation.erasing) if augmentation.erasing else None,
    ]
    return v2.Compose([step for step in steps if step is not None])


def _policy(name: str, size: int) -> Any:
    if name == "cifar10":
        return v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    from timm.data.auto_augment import RandAugment, auto_augment_transform, posterize, rand_augment_transform
    from timm.data.constants import IMAGENET_DEFAULT_MEAN

    # As timm's own training script sets them.
    grey = tuple(round(255 * value) for value in IMAGENET_DEFAULT_MEAN)
    options = {"translate_const": int(size * 0.45), "img_mean": grey, "interpolation": Image.Resampling.BICUBIC}
    build = rand_augment_transform if name.startswith("rand") else auto_augment_transform
    policy = build(name, options)
    for operation in policy.ops if isinstance(policy, RandAugment) else chain.from_iterable(policy.policy):
        if operation.aug_fn is posterize:
            operation.aug_fn = _posterize
    return policy


def _posterize(image: Image.Image, bits_to_keep: int, **_: Any) -> Image.Image:
    """Keeps so many bits of each value. The strongest of timm's levels keeps none, which Pillow 13 refuses."""
    mask = 256 - (1 << (8 - bits_to_keep))
    return image.point([value & mask for value in range(256)] * len(image.getbands()))


class _Erasing:
    """timm's random erasing. It works on normalised pixels, so the noise goes there and back, cut off at 0 and 255."""

    def __init__(self, probability: float) -> None:
        from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
        from timm.data.random_erasing import RandomErasing

        self.erase = RandomErasing(probability, mode="pixel", device="cpu")
        self.mean = 255 * torch.tensor(IMAGENET_DEFAULT_MEAN).view(3, 1, 1)
        self.std = 255 * torch.tensor(IMAGENET_DEFAULT_STD).view(3, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        noisy: Tensor = self.erase((image - self.mean) / self.std)
        return (noisy * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)


class LoadedViews(NamedTuple):
    """Views as a loader hands them on.

    Attributes:
        pixels: uint8, (k, 3, size, size).
        changes: what is still to be done to them; ``None`` for nothing.
    """

    pixels: Tensor
    changes: Changes | None = None

    def to(self, device: torch.device) -> Tensor:
        """Finishes them on a device: uint8, (k, 3, size, size)."""
        pixels = self.pixels.to(device, non_blocking=True)
        return change(pixels, self.changes) if self.changes else pixels

    @classmethod
    def of(cls, views: Iterable[tuple[Tensor, Change | None]]) -> "LoadedViews":
        """Puts together what :class:`Augmenter` made of single images."""
        pixels, changes = zip(*views, strict=True)
        if not any(changes):
            return cls(torch.stack(pixels))
        size = pixels[0].shape[-1]
        nothing = work_out(View((0, 0, size, size)), size, size, size)
        # Pillow's pixels have the colours last: so they are put together fastest.
        together = torch.stack([own.permute(1, 2, 0) for own in pixels]).permute(0, 3, 1, 2)
        return cls(together, Changes.of([own or nothing for own in changes]))


class Augmenter:
    """Changes an image as it draws from the global generators, or says what is to be done to it in a batch."""

    def __init__(self, augmentation: Augmentation, size: int) -> None:
        self.transform, self.size = build_transform(augmentation, size), size
        self.batched = augmentation.backend == "tensor"

    def __call__(self, image: Image.Image) -> tuple[Tensor, Change | None]:
        """Returns uint8 pixels, (3, size, size), and what is still to be done to them."""
        if not self.batched:
            return torch.as_tensor(self.transform(image)), None
        drawn = work_out(draw_view(self.transform, *image.size, self.size), *image.size, self.size)
        part = image.resize((self.size, self.size), Image.Resampling.BILINEAR, drawn.box)
        return torch.as_tensor(pil_to_tensor(part)), drawn


class Views:
    """Deterministic augmented views of a data set.

    Args:
        dataset: the prepared data set; its name is an axis of the seed.
        augmentation: what may change.
        support: what may change instead in images that support few-shot episodes.
        support_rows: these images.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        augmentation: Augmentation,
        support: Augmentation | None = None,
        support_rows: Iterable[int] = (),
    ) -> None:
        self.dataset = dataset
        self.name, self.size = dataset.description["name"], dataset.description["size"]
        self.augmenter = Augmenter(augmentation, self.size)
        self.support_augmenter = Augmenter(support or augmentation, self.size)
        self.support_rows = frozenset(map(int, support_rows))
        self.seeds_python = any(own.auto_augment or own.erasing for own in (augmentation, support or augmentation))

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> Tensor:
        """Returns view ``views[k]`` of image ``rows[k]`` for all k: uint8, (k, 3, size, size)."""
        return self.load(rows, views).to(torch.device("cpu"))

    def load(self, rows: Sequence[int], views: Sequence[int]) -> LoadedViews:
        """Makes the same views but for what a device does to all of them at once."""
        if self.dataset.files is None and all(view == CLEAN for view in views):
            return LoadedViews(torch.from_numpy(self.dataset.pixels[list(rows)]).permute(0, 3, 1, 2))
        with _random_state_kept(self.seeds_python):
            return LoadedViews.of(self._one(int(row), int(view)) for row, view in zip(rows, views, strict=True))

    def _one(self, row: int, view: int) -> tuple[Tensor, Change | None]:
        image = self.dataset.image(row)
        if view == CLEAN:
            return torch.as_tensor(pil_to_tensor(square(image, self.size))), None
        seed = seed_for("view", dataset=self.name, image=row, view=view)
        # Not torch.manual_seed: it seeds every kind of device, which takes as long as the transforms.
        torch.default_generator.manual_seed(seed)
        if self.seeds_python:
            random.seed(seed)
            np.random.seed(seed % 2**32)
        return (self.support_augmenter if row in self.support_rows else self.augmenter)(image)


@contextmanager
def _random_state_kept(python_too: bool) -> Iterator[None]:
    """Restores the global generators afterwards: transforms take none of their own, so each view seeds them."""
    states = (random.getstate(), np.random.get_state()) if python_too else None
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            if states:
                random.setstate(states[0])
                np.random.set_state(states[1])
