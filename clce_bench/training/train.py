"""The ``train`` stage: one cell from prepared data to a model and its embeddings."""

import logging
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from clce_bench.cells import Cell
from clce_bench.data.augmentation import CLEAN
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.files import read_json, sha256_of, staged, write_json
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.device import pick_device
from clce_bench.provenance import environment, now
from clce_bench.seeds import seed_for
from clce_bench.training.batches import ComputedInputs, Inputs, StoredInputs
from clce_bench.training.loop import Training, fit

log = logging.getLogger(__name__)

EVALUATION_BATCH = 256


def train_cell(job: dict[str, Any], output: Path) -> None:
    """Writes ``cell.json``, ``history.csv``, ``model.safetensors`` and ``embeddings.npz``.

    Args:
        job: ``spec`` (a cell), ``inputs`` (paths by name) and ``code`` (a fingerprint).
        output: the cell's folder.

    Raises:
        UserError: the batch does not fit the training set, or the loss rejects its hyper-parameters.
    """
    started, clock = now(), time.perf_counter()
    cell = Cell.model_validate(job["spec"])
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    # For what has no generator of its own: dropout, and weights of a loss of the user's.
    torch.manual_seed(seed_for("training", dataset=cell.dataset, seed=cell.seed))
    device = pick_device()
    dataset = PreparedDataset(paths["dataset"].parent)
    rows = rows_by_part(paths["splits"], cell.split.fold)
    if cell.batch_size > len(rows["train"]):
        allowed = f"Allowed: at most {len(rows['train'])}, the training images of {cell.dataset}"
        raise UserError(f"batch_size: {cell.batch_size} is not allowed. {allowed}.")
    labels, classes = training_labels(dataset.items["label"].to_numpy(), rows["train"])
    few_shot = read_json(paths["splits"])["task"] == "few-shot"
    backbone = read_json(paths["backbone"])
    trunk, tail = split_backbone(load_backbone(paths["backbone"].parent), cell.backbone.freeze)
    inputs: Inputs
    if "features" in paths:
        inputs = StoredInputs(paths["features"].parent, device)
    else:
        inputs = ComputedInputs(cell, dataset, trunk, backbone, device)
    model = ContrastiveClassifier(tail, backbone["features"], classes, cell.weight, cell.recipe, cell.seed).to(device)
    if "features" not in paths:
        model.to(memory_format=torch.channels_last)
    loss = FusedLoss(_contrastive(cell), cell.weight).to(device)

    def validate() -> float:
        features, logits = embed(model, inputs, rows["validation"])
        own = dataset.items["label"].to_numpy()[rows["validation"]]
        if few_shot or logits is None:
            return leave_one_out_accuracy(features, own)
        return float((logits.argmax(axis=1) == labels[rows["validation"]].cpu().numpy()).mean())

    training = fit(model, loss, cell, inputs, rows["train"], labels.to(device), validate)
    embedded = np.sort(np.concatenate(list(rows.values())))
    embeddings = embed(model, inputs, embedded)
    if not np.isfinite(embeddings[0]).all():
        training = replace(training, diverged="the features were not finite after the last epoch")
    log.info("%s: %d epochs, %s", cell.name, len(training.history), training.diverged or "done")
    _write(output, job, cell, model, training, embedded, embeddings, started, clock)


def _peak_gpu_memory_mib() -> int | None:
    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None


def _contrastive(cell: Cell) -> torch.nn.Module | None:
    if cell.weight == 0:
        return None
    hyperparameters = {key: value for key, value in cell.loss.items() if key != "name"}
    try:
        return create_loss(cell.loss["name"], **hyperparameters)
    except (ValueError, TypeError) as error:
        raise UserError(f"losses.{cell.loss['name']}: {error}") from None


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


def _write(
    output: Path,
    job: dict[str, Any],
    cell: Cell,
    model: ContrastiveClassifier,
    training: Training,
    rows: NDArray[np.int64],
    embeddings: tuple[NDArray[np.float32], NDArray[np.float32] | None],
    started: str,
    clock: float,
) -> None:
    features, logits = embeddings
    with staged(output, last="cell.json") as folder:
        pd.DataFrame(
            training.rows(), columns=["epoch", "time", "loss", "learning_rate", "validation", "seconds"]
        ).to_csv(folder / "history.csv", index=False)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
        arrays: dict[str, NDArray[Any]] = {"rows": rows, "features": features.astype(np.float16)}
        if logits is not None:
            arrays["logits"] = logits
        np.savez(folder / "embeddings.npz", allow_pickle=False, **arrays)
        record = {
            "name": cell.name,
            "status": "diverged" if training.diverged else "done",
            "reason": training.diverged,
            "job": job,
            "inputs_sha256": {name: sha256_of(Path(path)) for name, path in job["inputs"].items()},
            "outputs_sha256": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
            "started": started,
            "seconds": round(time.perf_counter() - clock, 3),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "peak_gpu_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20)
            if torch.cuda.is_available()
            else None,
            "environment": environment(),
        }
        write_json(folder / "cell.json", record)
