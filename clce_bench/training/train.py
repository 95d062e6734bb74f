"""The ``train`` stage: one cell from prepared data to a model and its embeddings."""

import logging
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from clce_bench.experiment.recipes import Runtime
from clce_bench.files import canonical_json, sha256_of, staged
from clce_bench.machine import peak_memory
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.device import acquired_device
from clce_bench.records.environment import environment, now
from clce_bench.records.job_records import check_inputs, content_of, modules_of
from clce_bench.records.record_models import CellRecord, Environment, JobDefinition
from clce_bench.training import distributed
from clce_bench.training.batches import TrainBatches
from clce_bench.training.build import build
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.loop import fit
from clce_bench.training.task import Task
from clce_bench.training.train_state import Epoch, TrainState
from clce_bench.training.validation import embed_all, validate

log = logging.getLogger(__name__)

HISTORY = tuple(field.name for field in fields(Epoch))


def train_cell(job: dict[str, Any], output: Path, runtime: Runtime | None = None) -> None:
    """Writes ``cell.json``, ``history.csv``, ``model.safetensors`` and ``embeddings.npz``.

    Args:
        job: ``spec`` (a cell), ``inputs`` (paths by name) and ``code`` (a fingerprint).
        output: the cell's folder; checkpoints are in ``checkpoints`` below it meanwhile.
        runtime: how to run; changes no result.

    Raises:
        UserError: the batch does not fit the training set, the loss rejects its hyper-parameters, or the recipe or the
            runtime asks for what does not go together.
        Interrupted: the process was asked to end; the next one continues from there.
    """
    runtime = runtime or Runtime()
    with acquired_device(runtime.device) as device, distributed.process_group(device):
        started, clock = now(), time.perf_counter()
        check_inputs(job)
        task = Task.load(job)
        inputs, train_step = build(task, runtime, device)
        model = train_step.eval_model
        batches = TrainBatches(task.cell, inputs, task.rows["train"], task.labels.to(device))
        checkpoints = Checkpoints(output / "checkpoints", canonical_json(job), runtime.checkpoint_seconds)
        state = TrainState()
        if task.cell.trains:
            state = fit(train_step, batches, lambda: validate(model, inputs, task), checkpoints)
        if distributed.rank():
            return
        arrays = embed_all(model, inputs, task)
        if state.diverged is None and not all(np.isfinite(array).all() for array in arrays.values()):
            state.diverged = "the features were not finite, or too large to be stored, after the last epoch"
        log.info("%s: %d epochs, %s", task.cell.name, len(state.history), state.diverged or "done")
        write_cell(output, task, runtime, model, state, arrays, started, round(time.perf_counter() - clock, 3))
        checkpoints.remove()


def write_cell(
    output: Path,
    task: Task,
    runtime: Runtime,
    model: ContrastiveClassifier,
    state: TrainState,
    arrays: dict[str, NDArray[Any]],
    started: str,
    seconds: float,
) -> None:
    """Writes a cell's files, all or none of them.

    Args:
        output: the cell's folder.
        task: its task.
        runtime: how it ran.
        model: the weights that count.
        state: how training went.
        arrays: for ``embeddings.npz``.
        started: when, ISO 8601.
        seconds: since then.
    """
    with staged(output, last="cell.json") as folder:
        pd.DataFrame(state.rows(), columns=HISTORY).to_csv(folder / "history.csv", index=False)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
        np.savez(folder / "embeddings.npz", allow_pickle=False, **arrays)
        CellRecord(
            name=task.cell.name,
            status="diverged" if state.diverged else "done",
            reason=state.diverged,
            job=JobDefinition.model_validate(task.job),
            inputs_sha256={name: content_of(path) for name, path in task.paths.items()},
            outputs_sha256={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
            modules=modules_of("train", task.job["code"]),
            started=started,
            seconds=seconds,
            peak_memory_mib=round(peak_memory() / 2**20),
            peak_gpu_memory_mib=_peak_gpu_memory_mib(),
            runtime={**runtime.model_dump(), "processes": distributed.world_size()},
            waiting_for_data=round(state.data_time / max(state.seconds, 1e-9), 4),
            resumed=state.resumed,
            environment=Environment.model_validate(environment()),
        ).write(folder / "cell.json")


def _peak_gpu_memory_mib() -> int | None:
    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None
