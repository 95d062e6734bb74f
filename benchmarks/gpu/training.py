"""The pipeline's training step on the device: mixed precision, resumption, and the smallest experiment."""

import json
import statistics
import tempfile
from contextlib import chdir, contextmanager
from csv import DictReader
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks.gpu.verdict import Setting, Verdict
from clce_bench.cli import command_status
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.planning.plan import plan_of
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.random_state import RandomState
from clce_bench.training.step import Batch, TrainStep


def cell_of(size: int, batch: int, backbone: str = "resnet18", **recipe: Any) -> Cell:
    """Makes a cell of CLCE that trains everything."""
    grid = {"name": "main", "dataset": "digits", "loss": "clce", "batch_size": batch}
    experiment = {"name": "step", "datasets": {"digits": {"size": size}}, "recipe": recipe, "grids": [grid]}
    experiment["backbone"] = {"name": backbone, "weights": "random", "freeze": "none"}
    return union(cells_of(parse_experiment(experiment, "made up")))[0]


def network_of(setting: Setting, classes: int, size: int) -> Any:
    """Makes the network of a step: a ResNet, or what a CPU is fast at in half precision too."""
    small = {"model_name": "test_vit", "img_size": size}
    return timm.create_model(**setting.either({"model_name": "resnet18"}, small), num_classes=classes)


def train_step_of(cell: Cell, backbone: Any, classes: int, device: torch.device) -> TrainStep:
    """Makes the pipeline's step with both losses and both heads."""
    scale = ([0.5] * 3, [0.5] * 3)
    weight = cell.contrastive_weight
    model = ContrastiveClassifier(backbone, backbone.num_features, classes, weight, cell.recipe, 0, scale)
    model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    return TrainStep(model, FusedLoss(create_loss("clce"), weight), cell, Runtime(), classes)


def step_of(cell: Cell, setting: Setting) -> TrainStep:
    """Makes the training step of a cell, from the same weights each time."""
    torch.manual_seed(0)
    return train_step_of(cell, network_of(setting, 0, cell.size), 10, setting.device)


@contextmanager
def deterministic() -> Any:
    """Allows only algorithms that give the same bits each time."""
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def resumption(setting: Setting) -> Verdict:
    """Trains in float16 with a scaler and moving averages; stops half-way, reads the checkpoint, and goes on."""
    size, images_each, end = setting.either((64, 16, 6), (32, 4, 2))
    cell = cell_of(size, images_each, precision="float16", ema=0.9, clip_gradient=1.0)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (2 * images_each, 3, size, size), dtype=torch.uint8, generator=generator).to(
        setting.device
    )
    ids = torch.arange(2 * images_each, device=setting.device) % images_each
    batch = Batch(images, ids % (images_each // 2), ids)

    def steps(taking: TrainStep, first: int, last: int) -> list[float]:
        return [taking(number, batch) for number in range(first, last)]

    with deterministic(), tempfile.TemporaryDirectory() as folder:
        whole = step_of(cell, setting)
        losses = steps(whole, 0, end)
        checkpoints = Checkpoints(Path(folder, "checkpoints"), "gpu-check", 0)
        half = step_of(cell, setting)
        steps(half, 0, end // 2)
        checkpoints.save(end // 2, {**half.state(), "random": RandomState(setting.device).states})
        saved = checkpoints.load()
        assert saved is not None
        again = step_of(cell, setting)
        again.load(saved)
        RandomState(setting.device, saved["random"]).restore()
        rest = steps(again, end // 2, end)
    one, other = whole.eval_model.state_dict(), again.eval_model.state_dict()
    same = rest == losses[end // 2 :] and all(torch.equal(one[name], other[name]) for name in one)
    said = "the same bits" if same else "other bits"
    return Verdict(same, f"resumed after {end // 2} of {end} steps in float16 with EMA and clipping: {said}")


def smallest_experiment(setting: Setting) -> Verdict:
    """Trains a small grid on the device and on the CPU; accuracies may differ by what seeds differ by."""
    losses, seeds, batch, each = setting.either((["ce", "clce"], [0, 1, 2], 32, 40), (["clce"], [0], 16, 4))
    axes = {"loss": losses, "seed": seeds, "batch_size": batch, "images_per_class": each}
    recipe = {"learning_rate": 0.003, "warmup": 0, "epochs": setting.either(8, 1), "batch_norm": "batch"}
    experiment = {
        "name": "gpu-check",
        "backbone": {"name": "test_byobnet", "weights": "random", "freeze": "none"},
        "recipe": recipe,
        "datasets": {"digits": {"size": setting.either(32, 16)}},
        "grids": [{"name": "main", "dataset": "digits", **axes}],
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        plan = plan_of(parse_experiment(experiment, "gpu_check.py"))
        for verb in ("dataset", "splits", "backbone"):
            for job in plan.jobs[verb].values():
                run(verb, job.param, Path(job.output).parent, "cpu")
        for cell in plan.cells:
            (job,) = (job for job in plan.jobs["train"].values() if Path(job.output).parent == cell.directory)
            for device in ("cpu", setting.device.type):
                accuracy = run("train", job.param, Path(device, cell.name), device)
                rows.append({"loss": cell.loss_name, "seed": cell.seed, "device": device, "validation": accuracy})
    apart = {}
    for loss in losses:
        mine = [row for row in rows if row["loss"] == loss]
        cpu, other = ([row["validation"] for row in mine][start::2] for start in (0, 1))
        spread = statistics.stdev(cpu) if len(cpu) > 1 else 0.0
        apart[loss] = (abs(statistics.mean(cpu) - statistics.mean(other)), max(2 * spread, 0.02))
    said = ", ".join(
        f"{loss} {100 * found:.1f} points (allowed {100 * most:.1f})" for loss, (found, most) in apart.items()
    )
    return Verdict(all(found <= most for found, most in apart.values()), f"device and CPU differ by {said}", rows)


def run(verb: str, param: str, output: Path, device: str) -> float:
    """Runs one job; returns the last validation accuracy that it leaves, if it trains."""
    options = ["--runtime", json.dumps({"device": device})] if verb == "train" else []
    if status := command_status([verb, "--job", param, "--output", str(output), *options]):
        raise RuntimeError(f"{verb} ends with status {status} on {device}")
    history = output / "history.csv"
    return float(list(DictReader(history.open()))[-1]["validation"]) if history.exists() else 0.0
