"""Peak memory of a contrastive batch of 4,096 images in micro-batches, against a batch of 64.

Each measurement runs in a process of its own. Writes docs/benchmarks/memory.md.

    python benchmarks/memory.py
"""

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch
from timm.models.vision_transformer import VisionTransformer

from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.machine import peak_memory
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.step import Batch, TrainStep

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "memory.md"
SIZE, CLASSES, THREADS, MICRO_BATCH = 32, 100, 2, 128
# glibc then returns large blocks at once: the peak is of what is in use, not of what its heap keeps for later.
ALLOCATOR = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
BATCHES = ((64, None), (512, None), (512, MICRO_BATCH), (4096, MICRO_BATCH))


def measure(batch: int, micro_batch: int | None) -> tuple[float, float]:
    """Returns the peak of memory beyond the imports in MiB, and the seconds of a step."""
    torch.set_num_threads(THREADS)
    grid = {"name": "main", "dataset": "digits", "loss": "clce", "batch_size": batch}
    cell = union(cells_of(parse_experiment({"name": "memory", "grids": [grid]}, "memory.yaml")))[0]
    before = peak_memory()
    backbone: Any = VisionTransformer(img_size=SIZE, patch_size=4, embed_dim=192, depth=4, num_heads=3, num_classes=0)
    scale = ([0.5] * 3, [0.5] * 3)
    model = ContrastiveClassifier(backbone, 192, CLASSES, cell.contrastive_weight, cell.recipe, 0, scale).train()
    runtime = Runtime(micro_batch=micro_batch)
    train_step = TrainStep(model, FusedLoss(create_loss("clce"), cell.contrastive_weight), cell, runtime, CLASSES)
    rows = batch * cell.recipe.views
    images = torch.randint(256, (rows, 3, SIZE, SIZE), dtype=torch.uint8)
    labels = torch.arange(rows) % batch
    start = time.perf_counter()
    train_step(0, Batch(images, labels % CLASSES, labels))
    seconds = time.perf_counter() - start
    return (peak_memory() - before) / 2**20, seconds


@click.command()
@click.option("--one", help="Measure this batch and micro-batch alone, such as 64,none.")
def main(one: str | None) -> None:
    """Measure, and write docs/benchmarks/memory.md."""
    if one:
        batch, micro_batch = one.split(",")
        click.echo("{} {}".format(*measure(int(batch), None if micro_batch == "none" else int(micro_batch))))
        return
    lines = [
        "| images per batch | rows at once | peak (MiB) | of the first | step (s) |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    first = 0.0
    for batch, micro_batch in BATCHES:
        command = [sys.executable, __file__, "--one", f"{batch},{micro_batch or 'none'}"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env=ALLOCATOR).stdout
        peak, seconds = map(float, printed.split())
        first = first or peak
        lines.append(f"| {batch} | {micro_batch or 2 * batch} | {peak:.0f} | {peak / first:.2f} × | {seconds:.1f} |")
        click.echo(lines[-1])
    about = (
        f"One CLCE step of a ViT (4 blocks of 192, patches of 4 on {SIZE} px) on two views per image, gradients exact"
        f" in every row of the table. Peak beyond the imported libraries, {THREADS} CPU cores, {date.today()}."
    )
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    page = f"# Memory of large batches\n\n{about}\n\n" + "\n".join(lines) + "\n"
    OUTPUT.write_text(page + "\nMeasured by `python benchmarks/memory.py`.\n")


if __name__ == "__main__":
    main()
