"""Several processes that train one cell, each with its share of every batch."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clce_bench.machine import loopback
from clce_bench.models.device import acquired_for_processes

if TYPE_CHECKING:  # Gradient caching works with torch alone.
    import numpy as np
    from numpy.typing import NDArray

_STORE = "CLCE_BENCH_STORE"
"""Names the file by which processes that were launched here find each other."""


def launch(arguments: Sequence[str], processes: int, device: str) -> int | None:
    """Runs a command line of ``clce-bench`` in several processes of this machine, each with a GPU if there are any.

    Args:
        arguments: what follows ``clce-bench``.
        processes: how many.
        device: as in the runtime.

    Returns:
        The exit status; ``None`` if this process is to run the command itself: it is alone, or already one of several
        (started by torchrun, also across machines).
    """
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return None
    with acquired_for_processes(device, processes) as variables, TemporaryDirectory() as folder:
        # The processes find each other by files: torchrun's own store, and gloo, listen on all networks.
        places = ["--rdzv-backend=c10d", f"--rdzv-endpoint={folder}/launcher", "--rdzv-conf=store_type=file"]
        run = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *places]
        quiet = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), loopback())
        quiet |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", _STORE: f"{folder}/processes"}
        environment = {**os.environ, **variables, **quiet}
        return subprocess.run([*run, "-m", "clce_bench.cli", *arguments], env=environment).returncode


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the other processes, if this one was started as one of several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    store = f"file://{os.environ[_STORE]}" if _STORE in os.environ else "env://"
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store, timedelta(hours=2), rank=number, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Returns how many processes train this cell."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Returns the number of this process among them; the first writes the results."""
    return dist.get_rank() if world_size() > 1 else 0


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes gradients the mean over all processes."""
    if world_size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model, [device] if device.type == "cuda" else None)


def all_reduce_any(flag: bool | Tensor) -> bool:
    """Whether a flag is raised in any process: all get the same answer."""
    if world_size() == 1:
        return bool(flag)
    device = torch.cuda.current_device() if dist.get_backend() == "nccl" else "cpu"
    raised = torch.tensor(int(flag), device=device)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised)


def all_reduce_mean(value: Tensor) -> Tensor:
    """Averages a scalar over the processes."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value / world_size()


def average_gradients(module: nn.Module) -> None:
    """Averages the gradients of what no wrapper does it for."""
    if world_size() > 1:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = all_reduce_mean(parameter.grad)


def start_equal(module: nn.Module) -> None:
    """Gives all processes the parameters and buffers of the first."""
    if world_size() > 1:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.data, 0)


def gather_objects(value: Any) -> list[Any]:
    """Collects a small value from each process, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def shard(values: "NDArray[np.int64]", views: int) -> "NDArray[np.int64]":
    """Picks this process's part of a batch: some of its images, each in all its views.

    Args:
        values: one per row, (views · images,): all images in their first view, then all in their second, …
        views: views per image.
    """
    by_view = values.reshape(views, -1)
    each = by_view.shape[1] // world_size()
    return by_view[:, rank() * each : (rank() + 1) * each].reshape(-1)
