"""The ``train`` stage: one cell from prepared data to a model and its embeddings."""

import logging
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from clce_bench.data.augmentation import SUPPORT_VIEWS
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.hazards import PROCESSES
from clce_bench.experiment.recipes import Runtime
from clce_bench.files import canonical_json, read_json, sha256_of, staged
from clce_bench.losses.fused import FusedLoss
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.device import acquired_device
from clce_bench.records.environment import environment, now
from clce_bench.records.job_records import check_inputs, content_of, modules_of
from clce_bench.records.record_models import CellRecord, Environment, JobDefinition
from clce_bench.seeds import seed_for
from clce_bench.training import distributed
from clce_bench.training.batches import ComputedInputs, Inputs, StoredInputs
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.loop import Training, fit
from clce_bench.training.step import Stepper
from clce_bench.training.validation import embed, leave_one_out_accuracy, training_labels

log = logging.getLogger(__name__)


def train_cell(job: dict[str, Any], output: Path, runtime: Runtime | None = None) -> None:
    """Writes ``cell.json``, ``history.csv``, ``model.safetensors`` and ``embeddings.npz``.

    Args:
        job: ``spec`` (a cell), ``inputs`` (paths by name) and ``code`` (a fingerprint).
        output: the cell's folder; checkpoints lie in ``checkpoints`` below it meanwhile.
        runtime: how to run; changes no result.

    Raises:
        UserError: the batch does not fit the training set, the loss rejects its hyper-parameters, or the recipe or the
            runtime asks for what does not go together.
        Interrupted: the process was asked to end; the next one goes on from there.
    """
    own = runtime or Runtime()
    with acquired_device(own.device) as device, distributed.process_group(device):
        _train(job, output, own, device)


def _train(job: dict[str, Any], output: Path, runtime: Runtime, device: torch.device) -> None:
    started, clock = now(), time.perf_counter()
    check_inputs(job)
    cell = Cell.model_validate(job["spec"])
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    # For what has no generator of its own: dropout, and weights of a loss of the user's.
    process = {"process": distributed.rank()} if distributed.rank() else {}
    torch.manual_seed(seed_for("training", dataset=cell.dataset, seed=cell.seed, **process))
    dataset = PreparedDataset(paths["dataset"].parent)
    rows = rows_by_part(paths["splits"], cell.split.fold, cell.split.testing)
    if cell.batch_size > len(rows["train"]):
        allowed = f"Allowed: at most {len(rows['train'])}, the training images of {cell.dataset}"
        raise UserError(f"batch_size: {cell.batch_size} is not allowed. {allowed}.")
    _check(cell, runtime)
    labels, classes = training_labels(dataset.items["label"].to_numpy(), rows["train"])
    few_shot = read_json(paths["splits"])["task"] == "few-shot"
    backbone = read_json(paths["backbone"])
    checkpointing = runtime.gradient_checkpointing and cell.backbone.freeze == "none"
    whole = load_backbone(paths["backbone"].parent, cell.size, cell.recipe.drop_path, checkpointing)
    trunk, tail = split_backbone(whole, cell.backbone.freeze)
    inputs: Inputs
    if "features" in paths:
        inputs = StoredInputs(paths["features"].parent, device)
    else:
        support_rows = rows["test"] if few_shot else ()
        inputs = ComputedInputs(cell, dataset, trunk, backbone, device, support_rows, runtime.workers)
    scale = (backbone["mean"], backbone["std"]) if cell.backbone.freeze == "none" else None
    model = ContrastiveClassifier(
        tail, backbone["features"], classes, cell.contrastive_weight, cell.recipe, cell.seed, scale
    )
    model.to(device)
    if "features" not in paths:
        model.to(memory_format=torch.channels_last)
    smoothing, by_image = cell.recipe.label_smoothing, cell.self_supervised
    loss = FusedLoss(contrastive_loss(cell), cell.contrastive_weight, smoothing, by_image).to(device)
    stepper = Stepper(model, loss, cell, runtime, classes)
    model = stepper.evaluated

    chosen = rows["test" if "test-selection" in cell.hazards else "validation"]

    def validate() -> float:
        features, logits = embed(model, inputs, chosen)
        if few_shot or logits is None:
            return leave_one_out_accuracy(features, dataset.items["label"].to_numpy()[chosen])
        return float((logits.argmax(axis=1) == labels[chosen].cpu().numpy()).mean())

    checkpoints = Checkpoints(output / "checkpoints", canonical_json(job), runtime.checkpoint_seconds)
    training = fit(stepper, cell, inputs, rows["train"], labels.to(device), validate, checkpoints)
    if distributed.rank():
        return
    embedded = np.unique(np.concatenate(list(rows.values())))
    features, logits = embed(model, inputs, embedded)
    with np.errstate(over="ignore"):
        stored = features.astype(np.float16)
    if not np.isfinite(stored).all():
        training.diverged = "the features were not finite, or too large to be stored, after the last epoch"
    arrays: dict[str, NDArray[Any]] = {"rows": embedded, "features": stored}
    if logits is not None:
        arrays["logits"] = logits
    if few_shot:
        views = range(min(SUPPORT_VIEWS, inputs.views or SUPPORT_VIEWS))
        support = [embed(model, inputs, rows["test"], view)[0].astype(np.float16) for view in views]
        arrays |= {"support_rows": rows["test"], "support": np.stack(support)}
    log.info("%s: %d epochs, %s", cell.name, len(training.history), training.diverged or "done")
    _write(output, job, cell, model, training, runtime, arrays, started, clock)
    checkpoints.remove()


def _check(cell: Cell, runtime: Runtime) -> None:
    processes, recipe = distributed.processes(), cell.recipe
    if cell.batch_size % processes:
        raise UserError(f"batch_size: {cell.batch_size} cannot be shared by {processes} processes evenly.")
    if "per-process-negatives" in cell.hazards and PROCESSES % processes:
        raise UserError(f"runtime.processes: {processes} cannot stand for {PROCESSES}, as per-process-negatives asks.")
    if processes > 1 and runtime.micro_batch == "auto":
        raise UserError("runtime.micro_batch: 'auto' is not allowed with several processes. Allowed: a number.")
    if recipe.batch_norm == "batch" and (runtime.micro_batch is not None or processes > 1):
        raise UserError(
            "recipe.batch_norm: 'batch' is not allowed with runtime.micro_batch or several processes: the statistics"
            " would be those of a part of the batch. Allowed: 'frozen'."
        )


def _write(
    output: Path,
    job: dict[str, Any],
    cell: Cell,
    model: ContrastiveClassifier,
    training: Training,
    runtime: Runtime,
    arrays: dict[str, NDArray[Any]],
    started: str,
    clock: float,
) -> None:
    with staged(output, last="cell.json") as folder:
        pd.DataFrame(
            training.rows(), columns=["epoch", "time", "loss", "learning_rate", "validation", "seconds"]
        ).to_csv(folder / "history.csv", index=False)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
        np.savez(folder / "embeddings.npz", allow_pickle=False, **arrays)
        CellRecord(
            name=cell.name,
            status="diverged" if training.diverged else "done",
            reason=training.diverged,
            job=JobDefinition.model_validate(job),
            inputs_sha256={name: content_of(Path(path)) for name, path in job["inputs"].items()},
            outputs_sha256={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
            modules=modules_of("train", job["code"]),
            started=started,
            seconds=round(time.perf_counter() - clock, 3),
            peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            peak_gpu_memory_mib=_peak_gpu_memory_mib(),
            runtime={**runtime.model_dump(), "processes": distributed.processes()},
            waiting_for_data=round(training.waiting / max(training.seconds, 1e-9), 4),
            resumed=training.resumed,
            environment=Environment.model_validate(environment()),
        ).write(folder / "cell.json")


def _peak_gpu_memory_mib() -> int | None:
    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None
