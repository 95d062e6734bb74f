"""The rows of all processes, for losses that compare across them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Gathered:
    """A batch as a loss sees it: this process's rows alone, or those of all processes in the order of their ranks.

    Processes may hold different numbers of rows. Gradients flow back to the process that a row came from.

    Args:
        rows: of this process, (rows, dimensions).
        labels: of this process, (rows,), integer.
        gather: fetch the rows of the other processes, if ``torch.distributed`` is initialised.

    Attributes:
        rows: (rows, dimensions).
        labels: (rows,).
        is_anchor: which rows are this process's, (rows,), boolean; ``None`` for all.
        start: where this process's rows begin.
        world_size: how many processes share the batch.
    """

    def __init__(self, rows: Tensor, labels: Tensor, gather: bool) -> None:
        self.rows, self.labels = rows, labels
        self.is_anchor: Tensor | None = None
        self.start, self.world_size = 0, 1
        if not (gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return
        self.world_size = dist.get_world_size()
        sizes = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor(len(rows), device=rows.device))
        counts = [int(size) for size in sizes]
        self.start = sum(counts[: dist.get_rank()])
        self.rows = _GatherRows.apply(rows, counts)
        self.labels = _gather(labels, counts)
        self.is_anchor = torch.zeros(len(self.labels), dtype=torch.bool, device=rows.device)
        self.is_anchor[self.start : self.start + len(rows)] = True

    def total(self, number: Tensor) -> Tensor:
        """Adds up a number of each process."""
        if self.is_anchor is not None:
            number = number.clone()
            dist.all_reduce(number)
        return number


def _gather(values: Tensor, counts: list[int]) -> Tensor:
    # Collectives want equal sizes: short ones are padded, and the padding is cut off again.
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    received = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(received, padded)
    return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)])


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        start = sum(counts[: dist.get_rank()])
        ctx.shard = slice(start, start + len(rows))
        return _gather(rows, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Every process's loss depends on every row.
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.shard], None
