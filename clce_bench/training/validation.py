"""What training measures on the validation part, and the embeddings it leaves behind."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clce_bench.data.augmentation import CLEAN, SUPPORT_VIEWS
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.inputs import Inputs
from clce_bench.training.task import Task

EVALUATION_BATCH = 256


@torch.no_grad()
def embed(
    model: ContrastiveClassifier, inputs: Inputs, rows: NDArray[np.int64], view: int = CLEAN
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Computes features (rows, d) and logits (rows, classes) of one view per image; no logits at λ = 1."""
    model.eval()
    chunks = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    outputs = [model(values) for values in inputs.stream([(chunk, np.full(len(chunk), view)) for chunk in chunks])]
    features = torch.cat([output.features for output in outputs]).cpu().numpy()
    logits = [output.logits for output in outputs if output.logits is not None]
    return features, torch.cat(logits).cpu().numpy() if logits else None


def validate(model: ContrastiveClassifier, inputs: Inputs, task: Task) -> float:
    """Measures the accuracy, in [0, 1]: the classifier's, or where there is none of the classes, the nearest mean's."""
    rows = task.selection_rows
    features, logits = embed(model, inputs, rows)
    if task.few_shot or logits is None:
        return leave_one_out_accuracy(features, task.dataset.items["label"].to_numpy()[rows])
    return float((logits.argmax(axis=1) == task.labels[rows].numpy()).mean())


def embed_all(model: ContrastiveClassifier, inputs: Inputs, task: Task) -> dict[str, NDArray[Any]]:
    """Embeds all images of the task's parts, and several views of those that may support few-shot episodes.

    Returns:
        The arrays of ``embeddings.npz``. Features are float16, and infinite where they are beyond its range.
    """
    rows = np.unique(np.concatenate(list(task.rows.values())))
    features, logits = embed(model, inputs, rows)
    with np.errstate(over="ignore"):
        arrays: dict[str, NDArray[Any]] = {"rows": rows, "features": features.astype(np.float16)}
        if logits is not None:
            arrays["logits"] = logits
        if task.few_shot:
            views = range(min(SUPPORT_VIEWS, inputs.views or SUPPORT_VIEWS))
            support = [embed(model, inputs, task.rows["test"], view)[0].astype(np.float16) for view in views]
            arrays |= {"support_rows": task.rows["test"], "support": np.stack(support)}
    return arrays


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
