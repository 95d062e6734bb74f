"""A training step of a CLCE cell against a bare loop: the same backbone on the same views with cross-entropy.

Both run in one process and take turns. Writes docs/benchmarks/step.md.

    python benchmarks/step.py
"""

import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
import timm
import torch
from torch import Tensor, nn

from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.models.backbone import standardise
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.step import Batch, TrainStep

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "step.md"
SETTINGS = (("resnet18", 224, 16), ("vit_small_patch16_224", 224, 8), ("tf_efficientnet_lite0", 96, 64))
CLASSES, THREADS = 100, 2
MEAN, STD = [0.5] * 3, [0.5] * 3


def cell_of(name: str, size: int, batch: int) -> Cell:
    """Makes a cell of CLCE that trains everything."""
    experiment = {
        "name": "step",
        "backbone": {"name": name, "weights": "random", "freeze": "none"},
        "datasets": {"digits": {"size": size}},
        "grids": [{"name": "main", "dataset": "digits", "loss": "clce", "batch_size": batch}],
    }
    return union(cells_of(parse_experiment(experiment, "step.yaml")))[0]


def own_step(cell: Cell, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Prepares the pipeline's step with both losses and both heads."""
    backbone: Any = timm.create_model(cell.backbone.name, num_classes=0)
    scale = (MEAN, STD)
    model = ContrastiveClassifier(
        backbone, backbone.num_features, CLASSES, cell.contrastive_weight, cell.recipe, 0, scale
    )
    model.to(memory_format=torch.channels_last).train()
    train_step = TrainStep(model, FusedLoss(create_loss("clce"), cell.contrastive_weight), cell, Runtime(), CLASSES)
    return lambda: train_step(0, Batch(images, labels, labels))


def bare_step(cell: Cell, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Prepares a plain step: forward, cross-entropy, backward, AdamW."""
    model: Any = timm.create_model(cell.backbone.name, num_classes=CLASSES)
    model.to(memory_format=torch.channels_last).train()
    for module in model.modules():  # As in the cell, whose recipe keeps the statistics.
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        inputs = standardise(images, MEAN, STD).contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()

    return step


def compare(cell: Cell, rounds: int) -> tuple[float, float, float]:
    """Returns the median seconds of both steps, and the median of their ratios round by round."""
    rows = cell.batch_size * cell.recipe.views
    images = torch.randint(256, (rows, 3, cell.size, cell.size), dtype=torch.uint8)
    labels = torch.arange(rows) % cell.batch_size % CLASSES
    steps = own_step(cell, images, labels), bare_step(cell, images, labels)
    seconds: list[tuple[float, ...]] = []
    for _ in range(rounds + 1):
        taken = []
        for step in steps:
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
        seconds.append(tuple(taken))
    own, bare = zip(*seconds[1:], strict=True)
    return statistics.median(own), statistics.median(bare), statistics.median(a / b for a, b in seconds[1:])


@click.command()
@click.option("--rounds", default=15, show_default=True)
def main(rounds: int) -> None:
    """Measure, and write docs/benchmarks/step.md."""
    torch.set_num_threads(THREADS)
    lines = [
        "| backbone | image | rows | CLCE step (s) | bare CE step (s) | ratio |",
        "| --- | ---: | ---: " + "| ---: " * 3 + "|",
    ]
    for name, size, batch in SETTINGS:
        own, bare, ratio = compare(cell_of(name, size, batch), rounds)
        lines.append(f"| {name} | {size} px | {2 * batch} | {own:.3f} | {bare:.3f} | {ratio:.3f} |")
        click.echo(lines[-1])
    about = (
        "A step of a CLCE cell (two losses, linear classifier and projection head, AdamW) against a bare loop that runs"
        f" the same backbone on the same views with cross-entropy. {THREADS} CPU cores, medians of {rounds} rounds,"
        f" {date.today()}."
    )
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(
        f"# A training step\n\n{about}\n\n" + "\n".join(lines) + "\n\nMeasured by `python benchmarks/step.py`.\n"
    )


if __name__ == "__main__":
    main()
