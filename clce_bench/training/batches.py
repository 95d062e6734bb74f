"""Which images a step sees, in which views: the same for every loss at one seed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clce_bench.cells import Cell
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepared import PreparedDataset
from clce_bench.models.features import run_trunk
from clce_bench.seeds import seed_for


class Inputs(Protocol):
    """Where the tail's inputs come from."""

    views: int | None
    """How many augmented views exist; ``None`` when every view can be made."""

    def __call__(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Returns the inputs for view ``views[k]`` of image ``rows[k]``, (k, …)."""


class StoredInputs:
    """Outputs of the frozen trunk that the ``features`` stage stored.

    Args:
        path: ``features.npy``.
        device: where batches go.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.array = np.load(path, mmap_mode="r")
        self.views: int | None = len(self.array) - 1
        self.device = device

    def __call__(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Returns the inputs for view ``views[k]`` of image ``rows[k]``, (k, …)."""
        return torch.from_numpy(self.array[views - CLEAN, rows]).to(self.device)


class ComputedInputs:
    """Augments images and runs the trunk when asked: the same numbers as :class:`StoredInputs`, more slowly.

    Args:
        cell: says how images are augmented and which trunk is frozen.
        dataset: the prepared data set.
        trunk: the frozen trunk; an identity when everything trains, and then every epoch has views of its own.
        description: the content of ``backbone.json``.
        device: where batches go.
    """

    def __init__(
        self,
        cell: Cell,
        dataset: PreparedDataset,
        trunk: nn.Module,
        description: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.views_of = Views(dataset.pixels, cell.augmentation, dataset.description["name"])
        self.views = None if cell.backbone.freeze == "none" else cell.backbone.cached_views
        self.trunk = trunk.to(device)
        self.description = description
        self.device = device

    def __call__(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Returns the inputs for view ``views[k]`` of image ``rows[k]``, (k, …)."""
        images = self.views_of(rows.tolist(), views.tolist()).to(self.device)
        with torch.no_grad():
            return run_trunk(self.trunk, images, self.description)


def epoch_batches(
    rows: NDArray[np.int64], batch_size: int, views: int, stored: int | None, epoch: int, dataset: str, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Draws the batches of one epoch.

    Args:
        rows: the training images.
        batch_size: images per batch; the incomplete last batch is dropped.
        views: views per image in a batch.
        stored: views that exist per image; ``None`` when each epoch has its own.
        epoch: counts from 0.
        dataset: an axis of the randomness, as ``seed``; the loss is none.
        seed: the cell's seed.

    Yields:
        Rows and views, each (views · batch_size,): all images in their first view, then all in their second, …
    """
    rng = np.random.default_rng(seed_for("batches", dataset=dataset, seed=seed, epoch=epoch))
    order = rng.permutation(rows)
    if stored is None:
        chosen = np.tile(epoch * views + np.arange(views), (len(rows), 1))
    else:
        chosen = rng.random((len(rows), stored)).argsort(axis=1)[:, :views]
    for start in range(0, len(rows) - batch_size + 1, batch_size):
        batch = slice(start, start + batch_size)
        yield np.tile(order[batch], views), chosen[batch].T.reshape(-1)
