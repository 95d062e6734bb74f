"""Time and memory of the losses against pytorch-metric-learning's SupConLoss and the plain dense formula.

Each measurement runs in a process of its own, and contenders take turns, so that a machine that slows down slows all.
Writes a table and a plot to docs/benchmarks/.

    python -m benchmarks.losses
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import Tensor

from benchmarks.gpu.losses import dense
from clce_bench.figures.style import use_style
from clce_bench.losses import core, create_loss
from clce_bench.machine import peak_memory

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
SIZES = (32, 128, 512, 1024, 2048, 8192, 16384)
TICKS = (32, 128, 512, 2048, 8192)
LOSSES = ("supcon", "supcon inside", "schane", "clce", "tcl", "ntxent", "hcl")
REFERENCE = "pytorch-metric-learning SupConLoss"
DIMENSIONS, CLASSES, THREADS = 128, 100, 2
FLOOR = {"seconds": 0.0, "MiB": 2.0}
SECONDS = 0.5
"""A measurement repeats for about this long."""


def contender(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Makes the loss ``NAME``, ``dense NAME`` or the reference."""
    if name == REFERENCE:
        from pytorch_metric_learning.losses import SupConLoss

        reference: Callable[[Tensor, Tensor], Tensor] = SupConLoss(temperature=0.1)
        return reference
    plain = name.removeprefix("dense ")
    options = {"positives": "inside"} if plain.endswith("inside") else {}
    loss = create_loss(plain.split()[0], **options)
    return loss if plain == name else dense(loss)


def measure(name: str, size: int) -> tuple[float, float]:
    """Returns the least seconds of forward and backward, and the peak of memory beyond the inputs in MiB."""
    torch.set_num_threads(THREADS)
    loss, generator = contender(name), torch.Generator().manual_seed(0)

    def batch(rows: int) -> tuple[Tensor, Tensor]:
        embeddings = torch.randn(rows, DIMENSIONS, generator=generator, requires_grad=True)
        return embeddings, torch.randint(CLASSES, (rows,), generator=generator)

    def once(embeddings: Tensor, labels: Tensor) -> float:
        embeddings.grad = None
        start = time.perf_counter()
        loss(embeddings, labels).backward()
        return time.perf_counter() - start

    chosen = core.DENSE_ROWS["cpu"]
    for rows in (0, chosen):  # In tiles and as one matrix: the first call of each imports more of torch.
        core.DENSE_ROWS["cpu"] = rows
        once(*batch(256))
    inputs = batch(size)
    before = peak_memory()
    seconds = [once(*inputs)]
    peak = peak_memory()
    while sum(seconds) < SECONDS:
        seconds.append(once(*inputs))
    return min(seconds), (peak - before) / 2**20


def collect(rounds: int) -> pd.DataFrame:
    """Measures everything, each time in a new process; one row per contender and size, medians over the rounds."""
    names = [REFERENCE, *(kind + loss for loss in LOSSES for kind in ("", "dense "))]
    found = []
    for size in SIZES:
        for _ in range(rounds):
            for name in names:
                command = [sys.executable, "-m", "benchmarks.losses", "--one", name, "--size", str(size)]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, mebibytes = map(float, printed.split())
                found.append({"loss": name, "rows": size, "seconds": seconds, "MiB": mebibytes})
                click.echo(f"{size:6} rows  {seconds:8.4f} s  {mebibytes:8.1f} MiB  {name}", err=True)
    return pd.DataFrame(found).groupby(["rows", "loss"], sort=False).median().reset_index()


def table(results: pd.DataFrame) -> str:
    """Writes the results as Markdown, with ratios to the reference and to the dense formula."""
    lines = [
        "| rows | loss | time (ms) | memory (MiB) | SupConLoss, time | memory | dense, time | memory |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for rows, group in results.groupby("rows"):
        by_loss = group.set_index("loss")
        reference = by_loss.loc[REFERENCE]
        lines.append(f"| {rows} | {REFERENCE} | {reference.seconds * 1e3:.1f} | {reference.MiB:.0f} | | | | |")
        for loss in LOSSES:
            own, dense = by_loss.loc[loss], by_loss.loc[f"dense {loss}"]
            ratios = [(other, key) for other in (reference, dense) for key in ("seconds", "MiB")]
            # The peak of a process is known to a mebibyte or so.
            shown = " | ".join(
                "–" if own[key] < FLOOR[key] else f"{other[key] / own[key]:.1f} ×" for other, key in ratios
            )
            lines.append(f"| {rows} | {loss} | {own.seconds * 1e3:.1f} | {own.MiB:.1f} | {shown} |")
    return "\n".join(lines)


def plot(results: pd.DataFrame, path: Path) -> None:
    """Draws time and memory over the rows, both on logarithmic axes."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    shown = {
        REFERENCE: ("#0072B2", "s"),
        "dense supcon": ("#E69F00", "^"),
        "supcon": ("#000000", "o"),
        "clce": ("#D55E00", "D"),
    }
    labels = {"dense supcon": "SupCon, dense formula", "supcon": "SupCon, here", "clce": "CLCE, here"}
    for axis, key, label in zip(axes, ("seconds", "MiB"), ("forward + backward (s)", "memory (MiB)"), strict=True):
        for name, (color, marker) in shown.items():
            one = results[(results["loss"] == name) & (results[key] > FLOOR[key])]
            axis.loglog(one["rows"], one[key], marker=marker, color=color, label=labels.get(name, name))
        axis.set(
            xlabel="rows (images × views)", ylabel=label, xticks=TICKS, xticklabels=[f"{size:,}" for size in TICKS]
        )
        axis.set_xlim(SIZES[0] / 1.3, SIZES[-1] * 1.3)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), bbox_inches="tight", dpi=150)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--one", help="Measure this contender alone and print seconds and MiB.")
@click.option("--size", default=512, show_default=True)
def main(rounds: int, one: str | None, size: int) -> None:
    """Measure, and write docs/benchmarks/losses.md and .svg."""
    if one:
        click.echo("{} {}".format(*measure(one, size)))
        return
    results = collect(rounds)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    plot(results, OUTPUT / "losses")
    setting = (
        f"Forward and backward, {DIMENSIONS} dimensions, {CLASSES} classes, float32, {THREADS} CPU cores,"
        f" torch {torch.__version__.partition('+')[0]}, best of each process, medians of {rounds}"
        f" processes, {date.today()}. Memory is the peak beyond the inputs; ratios say how many times more the other"
        " needs."
    )
    page = f"# Losses: time and memory\n\n{setting}\n\n![Time and memory over rows](losses.svg)\n\n{table(results)}\n"
    (OUTPUT / "losses.md").write_text(page + "\nMeasured by `python -m benchmarks.losses`.\n")


if __name__ == "__main__":
    main()
