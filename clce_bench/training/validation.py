"""What training measures on the validation part, and the embeddings it leaves behind."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clce_bench.data.augmentation import CLEAN
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.batches import Inputs

EVALUATION_BATCH = 256


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


@torch.no_grad()
def embed(
    model: ContrastiveClassifier, inputs: Inputs, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Computes features (rows, d) and logits (rows, classes) of clean images; no logits at λ = 1."""
    model.eval()
    chunks = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    outputs = [model(values) for values in inputs.stream([(chunk, np.full(len(chunk), CLEAN)) for chunk in chunks])]
    features = torch.cat([features for features, _, _ in outputs]).cpu().numpy()
    logits = None if model.classifier is None else torch.cat([logits for _, logits, _ in outputs]).cpu().numpy()
    return features, logits


def leave_one_out_accuracy(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Classifies each row by the nearest class mean (cosine), its own row left out of its class's mean.

    It needs no classifier, so it also measures unseen classes and cells without cross-entropy.
    """
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    classes, members = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(classes), unit.shape[1]), dtype=unit.dtype)
    np.add.at(sums, members, unit)
    scores = unit @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)).T
    without = sums[members] - unit
    without /= np.linalg.norm(without, axis=1, keepdims=True).clip(1e-12)
    scores[np.arange(len(unit)), members] = (unit * without).sum(axis=1)
    return float((scores.argmax(axis=1) == members).mean())
