"""Where the inputs of the trained tail come from: stored outputs of the trunk, or images, made when asked for."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from clce_bench.data.augmentation import CLEAN, LoadedViews, Views
from clce_bench.data.prepared import PreparedDataset
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.machine import usable_cores
from clce_bench.models.features import run_trunk
from clce_bench.training import distributed

T = TypeVar("T")
ViewBatch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of images and, for each, the view that is asked for."""


class Inputs(Protocol):
    """Where the tail's inputs come from."""

    views: int | None
    """How many augmented views exist; ``None`` when every view can be made."""

    def stream(self, batches: Iterable[ViewBatch]) -> Iterator[Tensor]:
        """Yields for each batch the inputs for view ``views[k]`` of image ``rows[k]``, (k, …)."""


class StoredInputs:
    """Outputs of the frozen trunk that the ``features`` stage stored.

    Args:
        directory: what the ``features`` stage filled.
        device: where batches go.
    """

    def __init__(self, directory: Path, device: torch.device) -> None:
        self.array = np.load(directory / "features.npy", mmap_mode="r")
        self.index = np.load(directory / "index.npy")
        self.views: int | None = len(self.index) - 1
        self.device = device

    def stream(self, batches: Iterable[ViewBatch]) -> Iterator[Tensor]:
        """Yields for each batch the inputs for view ``views[k]`` of image ``rows[k]``, (k, …).

        Raises:
            IndexError: a view is not stored, which the split rules out.
        """
        for rows, views in batches:
            entries = self.index[views - CLEAN, rows]
            if entries.min() < 0:
                raise IndexError(f"no view is stored of image {rows[entries.argmin()]}.")
            yield torch.from_numpy(self.array[entries]).to(self.device)


class ComputedInputs:
    """Augments images and runs the trunk when asked: the same numbers as :class:`StoredInputs`, more slowly.

    Beside a GPU, other processes decode and augment the next batches meanwhile; augmenting whole batches is left to the
    GPU.

    Args:
        cell: says how images are augmented and which trunk is frozen.
        dataset: the prepared data set.
        trunk: the frozen trunk; an identity when everything trains, and then every epoch has views of its own.
        description: the content of ``backbone.json``.
        device: where batches go.
        support_rows: images that may support few-shot episodes.
        workers: processes that prepare batches; 0 does it here. If not given: its share of the cores beside a GPU, 0 on
            a CPU.
    """

    def __init__(
        self,
        cell: Cell,
        dataset: PreparedDataset,
        trunk: nn.Module,
        description: dict[str, Any],
        device: torch.device,
        support_rows: Iterable[int] = (),
        workers: int | None = None,
    ) -> None:
        self.views_of = Views(dataset, cell.augmentation, cell.support, support_rows)
        self.views = None if cell.backbone.freeze == "none" else cell.backbone.cached_views
        self.trunk = trunk.to(device)
        self.description = description
        self.device = device
        cores = usable_cores() // distributed.world_size() if device.type == "cuda" else 0
        self.workers = cores if workers is None else workers
        self.asked = _Asked()
        self.loader: DataLoader[LoadedViews] = DataLoader(
            _ViewBatches(self.views_of),
            sampler=self.asked,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,  # They start once, not with every epoch and validation.
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # Without one of its own, the loader draws from the global one.
        )

    def stream(self, batches: Iterable[ViewBatch]) -> Iterator[Tensor]:
        """Yields for each batch the inputs for view ``views[k]`` of image ``rows[k]``, (k, …).

        Images as they are, uint8 (k, 3, height, width), where no trunk is frozen.
        """
        self.asked.batches = batches
        for images in with_shared_memory(self.loader):
            values = images.to(self.device)
            if self.views is not None:
                with torch.no_grad():
                    values = run_trunk(self.trunk, values, self.description)
            yield values


def with_shared_memory(loader: Iterable[T]) -> Iterator[T]:
    """Passes a loader's batches on.

    Raises:
        UserError: its processes ran out of shared memory.
    """
    try:
        yield from loader
    except RuntimeError as error:
        if re.search(r"shared memory|/torch_|No space left", str(error)):
            allowed = "0, or give /dev/shm more room (of a container: --shm-size, or --ipc=host)"
            cause = str(error).strip().rpartition("\n")[2]
            raise UserError(f"runtime.workers: they ran out of shared memory ({cause}). Allowed: {allowed}.") from None
        raise


class _Asked(Sampler[ViewBatch]):
    """Hands the loader the batches of the stream that begins; one stream ends before the next begins."""

    batches: Iterable[ViewBatch] = ()

    def __iter__(self) -> Iterator[ViewBatch]:
        return iter(self.batches)


class _ViewBatches(Dataset[LoadedViews]):
    """What the loader's processes ask for: a whole batch of views by its rows and views."""

    def __init__(self, views_of: Views) -> None:
        self.views_of = views_of

    def __getitem__(self, batch: ViewBatch) -> LoadedViews:
        rows, views = batch
        return self.views_of.load(rows.tolist(), views.tolist())
