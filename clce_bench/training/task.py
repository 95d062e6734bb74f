"""What a job trains on: its cell, its images, who they are and which of them train."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.files import read_json


@dataclass(frozen=True)
class Task:
    """One cell's task, as read from the files of its job.

    Attributes:
        job: ``spec``, ``inputs`` and ``code``.
        cell: the spec.
        paths: the job's inputs by name.
        dataset: the prepared data set.
        rows: images by part.
        labels: number of each image's class in training, (images,); −1 for classes outside training.
        classes: how many classes train.
        few_shot: whether the test part has classes of its own.
        backbone: the content of ``backbone.json``.
    """

    job: dict[str, Any]
    cell: Cell
    paths: dict[str, Path]
    dataset: PreparedDataset
    rows: dict[str, NDArray[np.int64]]
    labels: Tensor
    classes: int
    few_shot: bool
    backbone: dict[str, Any]

    @classmethod
    def load(cls, job: dict[str, Any]) -> "Task":
        """Reads a job's files.

        Raises:
            UserError: the batch does not fit the training set.
        """
        cell = Cell.model_validate(job["spec"])
        paths = {name: Path(path) for name, path in job["inputs"].items()}
        dataset = PreparedDataset(paths["dataset"].parent)
        rows = rows_by_part(paths["splits"], cell.split.fold, cell.split.testing)
        if cell.batch_size > len(rows["train"]):
            allowed = f"Allowed: at most {len(rows['train'])}, the training images of {cell.dataset}"
            raise UserError(f"batch_size: {cell.batch_size} is not allowed. {allowed}.")
        labels, classes = training_labels(dataset.items["label"].to_numpy(), rows["train"])
        few_shot = read_json(paths["splits"])["task"] == "few-shot"
        return cls(job, cell, paths, dataset, rows, labels, classes, few_shot, read_json(paths["backbone"]))

    @property
    def selection_rows(self) -> NDArray[np.int64]:
        """The images that are measured after each epoch."""
        return self.rows["test" if "test-selection" in self.cell.hazards else "validation"]


def training_labels(labels: NDArray[np.int64], train: NDArray[np.int64]) -> tuple[Tensor, int]:
    """Numbers the classes that occur in training from 0.

    Args:
        labels: label of every image, (images,).
        train: the training images.

    Returns:
        The numbers, (images,), −1 for classes outside training, and how many classes there are.
    """
    present = np.unique(labels[train])
    numbers = np.full(labels.max() + 1, -1)
    numbers[present] = np.arange(len(present))
    return torch.from_numpy(numbers[labels]), len(present)
