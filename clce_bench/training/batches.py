"""Which images a step sees, in which views: the same for every loss at one seed."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.hazards import Hazard
from clce_bench.experiment.recipes import Sampler
from clce_bench.seeds import seed_for
from clce_bench.training import distributed
from clce_bench.training.inputs import Inputs, ViewBatch
from clce_bench.training.step import Batch


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
