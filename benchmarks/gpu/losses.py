"""Losses on the device: how exact, how fast, how much memory. Needs torch alone."""

from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.gpu.verdict import Setting, Verdict, difference, peak_of, seconds_of
from clce_bench.losses import ContrastiveLoss, create_loss
from clce_bench.losses.core import normalise_rows
from clce_bench.losses.pairs import DensePairs, P

NAMES = ("supcon", "schane", "clce", "tcl", "ntxent", "hcl")
Loss = Callable[[Tensor, Tensor], Tensor]

# Precision of embeddings, whether products may be TF32, largest difference of values and of gradients to float64.
PRECISIONS = {
    "fp32": (torch.float32, "highest", 1e-4, 1e-3),
    "tf32": (torch.float32, "high", 1e-2, 5e-2),
    "bf16": (torch.bfloat16, "highest", 1e-2, 2e-2),
    "fp16": (torch.float16, "highest", 1e-2, 1e-2),
}


def batch(rows: int, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Makes embeddings that lie about their class's direction, and labels: two views of each image in order."""
    generator = torch.Generator().manual_seed(rows)
    labels = torch.arange(rows) % (rows // 2) % 100
    centres = torch.randn(100, 128, generator=generator)
    embeddings = (centres[labels] + torch.randn(rows, 128, generator=generator)).to(device, dtype)
    return embeddings.requires_grad_(), labels.to(device)


def labels_for(name: str, labels: Tensor) -> Tensor:
    """NT-Xent compares two views of each image; all others take classes."""
    return torch.arange(len(labels), device=labels.device) % (len(labels) // 2) if name == "ntxent" else labels


@contextmanager
def matmul_precision(kind: str) -> Any:
    """Lets float32 products be TF32, or not."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(kind)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def exactness(setting: Setting) -> Verdict:
    """Compares values and gradients with the CPU's in float64, from the same rounded embeddings."""
    rows, failed = [], []
    for size in setting.either((256, 2048), (32,)):
        for precision, (dtype, kind, most_value, most_gradient) in PRECISIONS.items():
            for name in NAMES:
                loss = create_loss(name)
                embeddings, labels = batch(size, setting.device, dtype)
                labels = labels_for(name, labels)
                exact = embeddings.detach().double().cpu().requires_grad_()
                loss(exact, labels.cpu()).backward()
                with matmul_precision(kind):
                    loss.to(setting.device)(embeddings, labels).backward()
                    value = loss(embeddings, labels).detach()
                found = difference(value, loss.cpu()(exact, labels.cpu()))
                gradient = difference(cast(Tensor, embeddings.grad), cast(Tensor, exact.grad))
                fine = found <= most_value and gradient <= most_gradient
                rows.append({"loss": name, "rows": size, "precision": precision, "value": found, "gradient": gradient})
                failed += [] if fine else [f"{name} in {precision} at {size} rows"]
    worst = max(row["gradient"] for row in rows if row["precision"] == "fp32")
    said = (
        f"too far from float64: {', '.join(failed)}" if failed else f"gradients in fp32 within {worst:.1e} of float64"
    )
    return Verdict(not failed, said, rows)


def dense(loss: nn.Module) -> Loss:
    """Computes a loss as its formula stands: a matrix of all pairs."""
    assert isinstance(loss, ContrastiveLoss)

    def matrix(embeddings: Tensor, labels: Tensor) -> Tensor:
        rows = normalise_rows(embeddings)
        pairs = DensePairs(rows @ rows.T, labels)
        has_positive = pairs.count(P) > 0
        return torch.where(has_positive, loss.per_anchor(pairs), 0.0).sum() / has_positive.sum()

    return matrix


def contenders(name: str) -> dict[str, Loss]:
    """Makes a loss of ours and what it is compared with."""
    found: dict[str, Loss] = {"here": create_loss(name), "dense": dense(create_loss(name))}
    if name == "supcon":
        with suppress(ImportError):
            from pytorch_metric_learning.losses import SupConLoss

            found["pytorch-metric-learning"] = SupConLoss(temperature=0.1)
    return found


def cost(setting: Setting) -> Verdict:
    """Measures time and peak memory of forward and backward, against the dense formula."""
    rows, sizes, largest = [], setting.either((256, 1024, 4096, 16384, 32768), (32,)), 0.0
    for name in NAMES:
        for kind, loss in contenders(name).items():
            for size in sizes:
                embeddings, labels = batch(size, setting.device)
                labels = labels_for(name, labels)

                def once(loss: Loss = loss, embeddings: Tensor = embeddings, labels: Tensor = labels) -> None:
                    embeddings.grad = None
                    loss(embeddings, labels).backward()

                row: dict[str, Any] = {"loss": name, "by": kind, "rows": size}
                try:
                    once()
                    row |= {"MiB": peak_of(once, setting.device)}
                    row |= {"ms": 1e3 * seconds_of(once, setting.device, setting.either(0.1, 0.0))}
                except torch.OutOfMemoryError:
                    row |= {"MiB": "does not fit", "ms": "–"}
                rows.append(row)
                if kind == "here" and size == sizes[-1]:
                    largest = max(largest, row["MiB"] if isinstance(row["MiB"], float) else float("inf"))
    matrix = sizes[-1] ** 2 * 4 / 2**20
    if setting.device.type != "cuda":
        return Verdict(True, "ran; a CPU keeps no count of memory", rows)
    said = f"{largest:.0f} MiB at most at {sizes[-1]} rows, where one matrix of all pairs takes {matrix:.0f}"
    return Verdict(largest < matrix / 2, said, rows)
