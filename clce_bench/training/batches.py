"""Which images a step sees, in which views: the same for every loss at one seed."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as BatchSampler

from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepared import PreparedDataset
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.hazards import Hazard
from clce_bench.experiment.recipes import Sampler
from clce_bench.machine import usable_cores
from clce_bench.models.features import run_trunk
from clce_bench.seeds import seed_for
from clce_bench.training import distributed
from clce_bench.training.step import Batch

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

    Beside a GPU, other processes decode and augment the next batches meanwhile.

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
        self.loader: DataLoader[Tensor] = DataLoader(
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
            values = images.to(self.device, non_blocking=True)
            if self.views is not None:
                with torch.no_grad():
                    values = run_trunk(self.trunk, values, self.description)
            yield values


def with_shared_memory(loader: Iterable[Tensor]) -> Iterator[Tensor]:
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


class _Asked(BatchSampler[ViewBatch]):
    """Hands the loader the batches of the stream that begins; one stream ends before the next begins."""

    batches: Iterable[ViewBatch] = ()

    def __iter__(self) -> Iterator[ViewBatch]:
        return iter(self.batches)


class _ViewBatches(Dataset[Tensor]):
    """What the loader's processes ask for: a whole batch of views by its rows and views."""

    def __init__(self, views_of: Views) -> None:
        self.views_of = views_of

    def __getitem__(self, batch: ViewBatch) -> Tensor:
        rows, views = batch
        return self.views_of(rows.tolist(), views.tolist())


def epoch_batches(
    rows: NDArray[np.int64],
    batch_size: int,
    views: int,
    stored: int | None,
    epoch: int,
    dataset: str,
    seed: int,
    same_crop: bool = False,
    sampler: Sampler | None = None,
    labels: NDArray[np.int64] | None = None,
) -> Iterator[ViewBatch]:
    """Draws the batches of one epoch.

    Args:
        rows: the training images.
        batch_size: images per batch; the incomplete last batch is dropped.
        views: views per image in a batch.
        stored: views that exist per image; ``None`` when each epoch has its own.
        epoch: counts from 0.
        dataset: an axis of the randomness, as ``seed``; the loss is none.
        seed: the cell's seed.
        same_crop: a hazard: repeat the first view instead of drawing others.
        sampler: how many classes and images of each a batch has; then ``labels`` are needed.
        labels: class of each of ``rows``.

    Yields:
        Rows and views, each (views · batch_size,): all images in their first view, then all in their second, …
    """
    rng = np.random.default_rng(seed_for("batches", dataset=dataset, seed=seed, epoch=epoch))
    if sampler and labels is not None:
        order = _by_class(rng, rows, labels, sampler, len(rows) // batch_size)
    else:
        order = rng.permutation(rows)
    if stored is None:
        chosen = np.tile(epoch * views + np.arange(views), (len(order), 1))
    else:
        chosen = rng.random((len(order), stored)).argsort(axis=1)[:, :views]
    if same_crop:
        chosen = np.repeat(chosen[:, :1], views, axis=1)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        batch = slice(start, start + batch_size)
        yield np.tile(order[batch], views), chosen[batch].T.reshape(-1)


def _by_class(
    rng: np.random.Generator, rows: NDArray[np.int64], labels: NDArray[np.int64], sampler: Sampler, batches: int
) -> NDArray[np.int64]:
    """Draws classes for each batch, and images of each; a class shows all its images before it begins again."""
    members = {label: rows[labels == label] for label in np.unique(labels)}
    fewest = min(map(len, members.values()))
    for key, value, most in (("classes", sampler.classes, len(members)), ("images", sampler.images, fewest)):
        if value > most:
            what = "classes that train" if key == "classes" else "training images of the smallest class"
            raise UserError(f"recipe.sampler.{key}: {value} is not allowed. Allowed: at most {most}, the {what}.")
    waiting = {label: rng.permutation(members[label]) for label in members}
    drawn = []
    for _ in range(batches):
        for label in rng.choice(list(members), sampler.classes, replace=False):
            if len(waiting[label]) < sampler.images:
                waiting[label] = rng.permutation(members[label])
            drawn.append(waiting[label][: sampler.images])
            waiting[label] = waiting[label][sampler.images :]
    return np.concatenate(drawn)


class TrainBatches:
    """The batches of a training run, or of this process's share of it.

    Args:
        cell: batch size, views and seed.
        inputs: gives the tail's inputs.
        rows: the training images.
        labels: label by image, (all images,), on the model's device.
    """

    def __init__(self, cell: Cell, inputs: Inputs, rows: NDArray[np.int64], labels: Tensor) -> None:
        self.cell, self.inputs, self.rows, self.labels = cell, inputs, rows, labels
        self.per_epoch = len(rows) // cell.batch_size

        self.classes = labels.cpu().numpy()

    def epoch(self, number: int, skip: int = 0, most: int | None = None) -> Iterator[Batch]:
        """Yields the batches of an epoch, which counts from 0: after the first ``skip`` of them, ``most`` at most."""
        views = self.cell.recipe.views
        own = [
            (distributed.shard(rows, views), distributed.shard(chosen, views))
            for rows, chosen in self._drawn(number)[skip:][:most]
        ]
        for (rows, _), inputs in zip(own, self.inputs.stream(own), strict=True):
            yield Batch(inputs, self.labels[rows], torch.from_numpy(rows).to(self.labels.device))

    def positives(self, number: int) -> float:
        """Returns how many other rows of an anchor's class its batch has, on average over an epoch's batches."""
        counts = [np.unique(self.classes[rows], return_counts=True)[1] for rows, _ in self._drawn(number)]
        return float(np.mean([(count * (count - 1)).sum() / count.sum() for count in counts]))

    def _drawn(self, number: int) -> list[ViewBatch]:
        cell = self.cell
        return list(
            epoch_batches(
                *(self.rows, cell.batch_size, cell.recipe.views, self.inputs.views, number, cell.dataset, cell.seed),
                same_crop=Hazard.SAME_CROP in cell.hazards,
                sampler=cell.recipe.sampler,
                labels=self.classes[self.rows],
            )
        )
