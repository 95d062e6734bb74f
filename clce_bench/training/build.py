"""From a task to what trains it: inputs, model, loss, optimiser."""

import torch

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.hazards import PROCESSES
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses.fused import FusedLoss
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.seeds import seed_for
from clce_bench.training import distributed
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.inputs import ComputedInputs, Inputs, StoredInputs
from clce_bench.training.momentum_encoder import momentum_encoder
from clce_bench.training.step import TrainStep
from clce_bench.training.task import Task


def build(task: Task, runtime: Runtime, device: torch.device) -> tuple[Inputs, TrainStep]:
    """Builds a cell's inputs and its training step, which holds the model.

    Raises:
        UserError: recipe, runtime, loss or backbone ask for what does not go together.
    """
    cell = task.cell
    _check(cell, runtime)
    # For what has no generator of its own: dropout, and weights of a loss of the user's.
    process = {"process": distributed.rank()} if distributed.rank() else {}
    torch.manual_seed(seed_for("training", dataset=cell.dataset, seed=cell.seed, **process))
    unfrozen, stored = cell.backbone.freeze == "none", "features" in task.paths
    checkpointing = runtime.gradient_checkpointing and unfrozen
    whole = load_backbone(task.paths["backbone"].parent, cell.size, cell.recipe.drop_path, checkpointing)
    trunk, tail = split_backbone(whole, cell.backbone.freeze)
    inputs: Inputs
    if stored:
        inputs = StoredInputs(task.paths["features"].parent, device)
    else:
        support = task.rows["test"] if task.few_shot else ()
        inputs = ComputedInputs(cell, task.dataset, trunk, task.backbone, device, support, runtime.workers)
    scale = (task.backbone["mean"], task.backbone["std"]) if unfrozen else None
    model = ContrastiveClassifier(
        tail, task.backbone["features"], task.classes, cell.contrastive_weight, cell.recipe, cell.seed, scale
    )
    if not cell.trains:
        model.classifier = None  # What it says at its start is nothing to measure; a probe is.
    model.to(device)
    if not stored:
        model.to(memory_format=torch.channels_last)
    smoothing, weight = cell.recipe.label_smoothing, cell.contrastive_weight
    loss = FusedLoss(contrastive_loss(cell), weight, smoothing, cell.self_supervised).to(device)
    distributed.start_equal(loss)
    steps = cell.recipe.step_count(len(task.rows["train"]) // cell.batch_size)
    return inputs, TrainStep(model, loss, cell, runtime, task.classes, momentum_encoder(model, loss, steps))


def _check(cell: Cell, runtime: Runtime) -> None:
    world_size = distributed.world_size()
    if cell.batch_size % world_size:
        raise UserError(f"batch_size: {cell.batch_size} cannot be shared by {world_size} processes evenly.")
    if "per-process-negatives" in cell.hazards and PROCESSES % world_size:
        raise UserError(f"runtime.processes: {world_size} cannot stand for {PROCESSES}, as per-process-negatives asks.")
    if world_size > 1 and runtime.micro_batch == "auto":
        raise UserError("runtime.micro_batch: 'auto' is not allowed with several processes. Allowed: a number.")
    parts = runtime.micro_batch is not None or world_size > 1
    if cell.contrastive_weight > 0 and cell.recipe.projection.norm == "batch" and parts:
        raise UserError(
            "recipe.head.norm: 'batch' is not allowed with runtime.micro_batch or several processes: the statistics"
            " would be those of a part of the batch. Allowed: 'none', 'layer'."
        )
    if cell.recipe.batch_norm == "batch" and parts:
        raise UserError(
            "recipe.batch_norm: 'batch' is not allowed with runtime.micro_batch or several processes: the statistics"
            " would be those of a part of the batch. Allowed: 'frozen'."
        )
