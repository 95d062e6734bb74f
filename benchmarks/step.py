"""A training step of a CLCE cell against a bare loop: the same backbone on the same views with cross-entropy.

Both run in one process and take turns. Writes docs/benchmarks/step.md.

    python -m benchmarks.step
"""

import statistics
from datetime import date
from pathlib import Path

import click
import timm
import torch

from benchmarks.gpu.speed import bare_step
from benchmarks.gpu.training import cell_of, train_step_of
from benchmarks.gpu.verdict import in_turns
from clce_bench.training.step import Batch

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "step.md"
SETTINGS = (("resnet18", 224, 16), ("vit_small_patch16_224", 224, 8), ("tf_efficientnet_lite0", 96, 64))
CLASSES, THREADS = 100, 2


def compare(name: str, size: int, batch: int, rounds: int) -> tuple[float, float, float]:
    """Returns the median seconds of both steps, and the median of their ratios round by round."""
    cell, device = cell_of(size, batch, name), torch.device("cpu")
    rows = batch * cell.recipe.views
    images = torch.randint(256, (rows, 3, size, size), dtype=torch.uint8)
    labels = torch.arange(rows) % batch % CLASSES
    taking = train_step_of(cell, timm.create_model(name, num_classes=0), CLASSES, device)
    bare = bare_step(timm.create_model(name, num_classes=CLASSES), images, labels, torch.float32)
    seconds = in_turns((lambda: taking(0, Batch(images, labels, labels)), bare), device, rounds + 1)[1:]
    own, other = zip(*seconds, strict=True)
    return statistics.median(own), statistics.median(other), statistics.median(a / b for a, b in seconds)


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
        own, bare, ratio = compare(name, size, batch, rounds)
        lines.append(f"| {name} | {size} px | {2 * batch} | {own:.3f} | {bare:.3f} | {ratio:.3f} |")
        click.echo(lines[-1])
    about = (
        "A step of a CLCE cell (two losses, linear classifier and projection head, AdamW) against a bare loop that runs"
        f" the same backbone on the same views with cross-entropy. {THREADS} CPU cores, medians of {rounds} rounds,"
        f" {date.today()}."
    )
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(
        f"# A training step\n\n{about}\n\n" + "\n".join(lines) + "\n\nMeasured by `python -m benchmarks.step`.\n"
    )


if __name__ == "__main__":
    main()
