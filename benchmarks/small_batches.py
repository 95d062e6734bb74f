"""Time of the losses at the sizes that are trained: as they choose, in tiles only, and against others.

All contenders take turns in one process of one thread, whose processor time is measured: other work on the machine then
matters little. Writes docs/benchmarks/small_batches.md.

    python benchmarks/small_batches.py
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Self

import click
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from clce_bench.losses import ContrastiveLoss, N, P, Pairs, core, create_loss
from clce_bench.losses.tiles import PairKind

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "small_batches.md"
SIZES = (32, 64, 128, 256, 512, 1024)
LOSSES = ("supcon", "supcon inside", "schane", "clce", "tcl", "ntxent", "hcl")
DIMENSIONS, CLASSES = 128, 100
Loss = Callable[[Tensor, Tensor], Tensor]


class PlainPairs(Pairs):
    """The formula as one would write it: a mask per kind of pair, torch.logsumexp per sum."""

    def __init__(self, embeddings: Tensor, labels: Tensor) -> None:
        rows = F.normalize(embeddings)
        self.similarity, self.dtype = rows @ rows.T, rows.dtype
        same = labels[:, None] == labels[None, :]
        self.masks = {P: same & ~torch.eye(len(labels), dtype=torch.bool), N: ~same}

    def count(self, kind: PairKind) -> Tensor:
        """Counts the rows of a kind."""
        return self.masks[kind].sum(dim=1)

    def mean_positive(self) -> Tensor:
        """Averages over the positives."""
        return (self.similarity * self.masks[P]).sum(dim=1) / self.count(P).clamp(min=1)

    def scaled(self, factor: Tensor) -> Self:
        """Scales the similarities."""
        result = copy.copy(self)
        result.similarity = self.similarity * factor
        return result

    def _positive_softplus(self, offsets: Tensor, coefficient: float) -> Tensor:
        return (F.softplus(offsets[:, None] - coefficient * self.similarity) * self.masks[P]).sum(dim=1)

    def _logsumexp(self, terms: list[tuple[PairKind, float]]) -> tuple[Tensor, ...]:
        return tuple((self.similarity * c).masked_fill(~self.masks[kind], -1e9).logsumexp(dim=1) for kind, c in terms)


def plain(loss: ContrastiveLoss) -> Loss:
    """Computes a loss by the plain formula."""

    def value(embeddings: Tensor, labels: Tensor) -> Tensor:
        pairs = PlainPairs(embeddings, labels)
        has_positive = pairs.count(P) > 0
        return torch.where(has_positive, loss.per_anchor(pairs), 0.0).sum() / has_positive.sum()

    return value


@contextmanager
def tiles_only() -> Iterator[None]:
    """Computes small batches as large ones are."""
    chosen = core.DENSE_ROWS["cpu"]
    core.DENSE_ROWS["cpu"] = 0
    yield
    core.DENSE_ROWS["cpu"] = chosen


def tiled(loss: ContrastiveLoss) -> Loss:
    """Computes a loss in tiles, whatever the size."""

    def value(embeddings: Tensor, labels: Tensor) -> Tensor:
        with tiles_only():
            return loss(embeddings, labels)

    return value


def contenders() -> dict[tuple[str, str], Loss]:
    """Returns what is measured, by loss and way."""
    found: dict[tuple[str, str], Loss] = {("supcon", "library"): SupConLoss(temperature=0.1)}
    for name in LOSSES:
        options = {"positives": "inside"} if name.endswith("inside") else {}
        loss = create_loss(name.split()[0], **options)
        found |= {(name, "here"): loss, (name, "tiles"): tiled(loss), (name, "plain"): plain(loss)}
    return found


def measure(size: int, seconds: float) -> dict[tuple[str, str], float]:
    """Returns the least processor milliseconds of forward and backward of each contender."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(size, DIMENSIONS, generator=generator, requires_grad=True)
    labels = torch.randint(CLASSES, (size,), generator=generator)
    losses, least = contenders(), {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, loss in losses.items():
            for _ in range(3):
                embeddings.grad = None
                start = time.thread_time()
                loss(embeddings, labels).backward()
                took = 1e3 * (time.thread_time() - start)
                least[key] = min(least.get(key, took), took)
    return least


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="For each size.")
def main(seconds: float) -> None:
    """Measure, and write docs/benchmarks/small_batches.md."""
    torch.set_num_threads(1)
    lines = [
        "| rows | loss | here (ms) | tiles only | plain formula | SupConLoss | faster of the two ÷ here | ÷ tiles |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        found = measure(size, seconds)
        library = found["supcon", "library"]
        for name in LOSSES:
            here, tiles, other = (found[name, way] for way in ("here", "tiles", "plain"))
            best = min(other, library)
            cells = [f"{value:.2f}" for value in (here, tiles, other, library)]
            lines.append(f"| {size} | {name} | {' | '.join(cells)} | {best / here:.2f} × | {best / tiles:.2f} × |")
            click.echo(lines[-1], err=True)
    setting = (
        f"Forward and backward, {DIMENSIONS} dimensions, {CLASSES} classes, float32, one thread, least processor time,"
        f" torch {torch.__version__.partition('+')[0]}, {date.today()}. Up to {core.DENSE_ROWS['cpu']} rows a loss is"
        " computed as one matrix, beyond in tiles; *tiles only* is how all sizes were computed before. SupConLoss is"
        " pytorch-metric-learning's, which computes less than most losses here."
    )
    page = ["# Losses at the sizes that are trained", setting, "\n".join(lines)]
    OUTPUT.write_text("\n\n".join(page) + "\n\nMeasured by `python benchmarks/small_batches.py`.\n")


if __name__ == "__main__":
    main()
