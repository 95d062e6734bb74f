"""What is checked of a cell before anything runs."""

from functools import lru_cache
from pathlib import Path
from zipfile import is_zipfile

from clce_bench.components.hyperparameters import EMBEDDING_SIZE
from clce_bench.components.optimizers import check_options
from clce_bench.components.registry import check_packaged
from clce_bench.data.dataset import Dataset
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.dataset_options import USUAL
from clce_bench.experiment.hazards import PROCESSES
from clce_bench.experiment.recipes import Runtime


def weights_file(weights: str) -> Path | None:
    """Returns the file that ``backbone.weights`` names, if it names one."""
    return None if weights in ("timm", "random") or weights.startswith("package:") else Path(weights)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # Such as a name that is too long.
        return False


@lru_cache(maxsize=64)
def _damage(path: Path, _changed: int) -> str:
    """Says what is wrong with a file of weights, as far as its ends show; nothing if they show nothing."""
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        return "is empty"
    # What torch writes is a ZIP archive, whose list of contents stands at its end.
    return "was cut off" if start.startswith(b"PK") and not is_zipfile(path) else ""


def check_cell(cell: Cell, source: Dataset) -> None:
    """Checks that a cell can be trained, as far as that can be known before anything runs.

    Raises:
        UserError: two settings do not go together, or something is not there; the message names the key.
    """
    if cell.batch_size > source.train_images and cell.split == USUAL.split:
        allowed = f"Allowed: at most {source.train_images}, the training images of {cell.dataset}"
        raise UserError(f"grids: batch_size: {cell.batch_size} is not allowed. {allowed}.")
    sampler = cell.recipe.sampler
    if sampler and cell.batch_size != sampler.classes * sampler.images:
        allowed = f"{sampler.classes * sampler.images}, {sampler.classes} classes × {sampler.images} images"
        raise UserError(f"grids: batch_size: {cell.batch_size} is not allowed. Allowed: {allowed} of recipe.sampler.")
    check_options(cell.recipe.optimizer, cell.recipe.optimizer_options)
    check_packaged(cell.backbone.name, cell.backbone.weights)
    file = weights_file(cell.backbone.weights)
    if file and not _is_file(file):
        allowed = "Allowed: 'package:NAME', a .safetensors or .pth file, 'timm' or 'random'"
        raise UserError(f"backbone.weights: {cell.backbone.weights}: there is no such file. {allowed}.")
    if file and (damage := _damage(file, file.stat().st_mtime_ns)):
        raise UserError(f"backbone.weights: {cell.backbone.weights}: {damage}. Get the file again.")
    for key, unused in (("drop_path", 0.0), ("layer_decay", 1.0)):
        if cell.backbone.freeze != "none" and (value := getattr(cell.recipe, key)) != unused:
            reason = f"the backbone is frozen up to {cell.backbone.freeze!r}"
            raise UserError(f"recipe.{key}: {value:g} is not allowed: {reason}. Allowed: {unused:g}.")
    for key in ("mixup", "cutmix"):
        if (value := getattr(cell.recipe, key)) and (cell.contrastive_weight > 0 or cell.backbone.freeze != "none"):
            reason = "mixed images have no one class, and stored features cannot be mixed"
            raise UserError(
                f"recipe.{key}: {value:g} is not allowed at λ = {cell.contrastive_weight:g} with backbone.freeze:"
                f" {cell.backbone.freeze}: {reason}. Allowed: λ = 0 with freeze: none."
            )
    if cell.recipe.views < 2 and cell.self_supervised:
        why = f"the positives of {cell.loss_name} are other views of an image"
        raise UserError(f"recipe.views: {cell.recipe.views} is not allowed: {why}. Allowed: at least 2.")
    width, given = cell.recipe.projection_size, cell.loss.hyperparameters.get(EMBEDDING_SIZE)
    if given not in (None, width):
        allowed = f"Allowed: {width}, recipe.projection_size"
        raise UserError(f"losses.{cell.loss.name}.{EMBEDDING_SIZE}: {given} is not allowed. {allowed}.")
    if "leaky-split" in cell.hazards and source.task == "few-shot":
        raise UserError(f"hazards: leaky-split is not allowed on {cell.dataset}: its parts have no class in common.")
    if "per-process-negatives" in cell.hazards and cell.momentum_encoder:
        raise UserError(
            f"hazards: per-process-negatives is not allowed for {cell.loss_name}: it has a momentum encoder."
        )
    if "per-process-negatives" in cell.hazards and cell.batch_size % PROCESSES:
        allowed = f"Allowed with per-process-negatives: multiples of {PROCESSES}"
        raise UserError(f"grids: batch_size: {cell.batch_size} is not allowed. {allowed}.")
    if cell.recipe.views > cell.backbone.cached_views and cell.backbone.freeze != "none":
        allowed = f"Allowed: at most backbone.cached_views, {cell.backbone.cached_views}"
        raise UserError(f"recipe.views: {cell.recipe.views} is not allowed. {allowed}.")


def check_runtime(cell: Cell, runtime: Runtime) -> None:
    """Checks that a cell can be trained as the experiment says that jobs run: in processes, in micro-batches.

    Raises:
        UserError: it cannot; the message names the key.
    """
    if cell.batch_size % runtime.processes:
        allowed = f"Allowed: numbers by which batch_size, {cell.batch_size}, can be divided"
        raise UserError(f"runtime.processes: {runtime.processes} is not allowed. {allowed}.")
    if "per-process-negatives" in cell.hazards and PROCESSES % runtime.processes:
        allowed = f"Allowed with per-process-negatives: numbers by which {PROCESSES} can be divided"
        raise UserError(f"runtime.processes: {runtime.processes} is not allowed. {allowed}.")
    several = runtime.processes > 1
    if several and runtime.micro_batch == "auto":
        raise UserError("runtime.micro_batch: 'auto' is not allowed with several runtime.processes. Allowed: a number.")
    if not cell.trains or not (several or runtime.micro_batch is not None):
        return
    parts = "with runtime.micro_batch or several runtime.processes"
    reason = f"{parts}: the statistics would be those of a part of the batch"
    if cell.contrastive_weight > 0 and cell.recipe.projection.norm == "batch":
        raise UserError(f"recipe.head.norm: 'batch' is not allowed {reason}. Allowed: 'none', 'layer'.")
    if cell.recipe.batch_norm == "batch":
        raise UserError(f"recipe.batch_norm: 'batch' is not allowed {reason}. Allowed: 'frozen'.")
