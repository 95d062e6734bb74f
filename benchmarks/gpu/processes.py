"""Several processes: the collectives' backend, and a GPU that one job holds at a time."""

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.gpu.losses import batch
from benchmarks.gpu.verdict import Setting, Verdict, difference
from clce_bench.losses import create_loss
from clce_bench.models.device import acquired_device, locked
from clce_bench.training import distributed

HELD = 0.5
"""Seconds for which a process holds the device."""


def collectives(setting: Setting) -> Verdict:
    """Joins a group of one process with the backend that several would use, and gathers in it."""
    backend = "nccl" if setting.device.type == "cuda" else "gloo"
    embeddings, labels = batch(32, setting.device)
    alone = create_loss("clce")(embeddings, labels)
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, f"file://{folder}/store", rank=0, world_size=1)
        try:
            gathered = create_loss("clce", gather=True)(embeddings, labels)
            mean = torch.full((), 3.0, device=setting.device)
            dist.all_reduce(mean)
            received = [torch.empty_like(labels)]
            dist.all_gather(received, labels)
            objects = distributed.gather_objects("here")
        finally:
            dist.destroy_process_group()
    fine = difference(gathered, alone) == 0 and float(mean) == 3 and torch.equal(received[0], labels)
    return Verdict(fine and objects == ["here"], f"{backend}, one process: reduces and gathers; the loss is the same")


def hold(folder: str, on_gpu: bool, times: Any) -> None:
    """Holds the GPU, or what stands for one, and says from when to when."""
    with acquired_device("cuda") if on_gpu else locked(["one"], folder=Path(folder)):
        start = time.monotonic()
        time.sleep(HELD)
        times.put((start, time.monotonic()))


def locks(setting: Setting) -> Verdict:
    """Has two processes ask for the same GPU at once."""
    on_gpu = setting.device.type == "cuda"
    context: Any = multiprocessing.get_context("spawn" if on_gpu else "fork")  # CUDA does not survive a fork.
    times = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [context.Process(target=hold, args=(folder, on_gpu, times)) for _ in range(2)]
        for job in jobs:
            job.start()
        first, second = sorted(times.get(timeout=120) for _ in jobs)
        for job in jobs:
            job.join()
    several = torch.cuda.device_count() if on_gpu else 1
    if several > 1:
        return Verdict(True, f"{several} GPUs: each process had its own")
    return Verdict(
        first[1] <= second[0], f"the second process had it {second[0] - first[1]:.2f} s after the first let go"
    )
