"""Where tensors live: a device for each job, even when many jobs start on one machine."""

import fcntl
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import torch

from clce_bench.errors import UserError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def pick_device(choice: str = "auto") -> torch.device:
    """Returns the kind of device to use.

    Args:
        choice: ``auto`` for the best there is, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: this machine has no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if choice == "auto":
        choice = next(kind for kind, usable in there.items() if usable)
    if not there[choice]:
        usable = ", ".join(repr(kind) for kind in ("auto", *there) if there.get(kind, True))
        raise UserError(f"runtime.device: {choice!r} is not allowed: torch finds none here. Allowed: {usable}.")
    return torch.device(choice)


@contextmanager
def acquired_device(choice: str = "auto") -> Iterator[torch.device]:
    """Holds a device for as long as the block lasts.

    A GPU is held alone: jobs of the same user on this machine get different ones, and wait while all are taken. A
    process that torchrun started takes the GPU of its rank: who started it has seen to the rest.

    Args:
        choice: as for :func:`pick_device`.

    Yields:
        The device.

    Raises:
        UserError: this machine has no such device.
    """
    device = pick_device(choice)
    if device.type != "cuda":
        yield device
    elif "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        yield device
    else:
        with locked(_gpus()) as (place,):
            torch.cuda.set_device(place)
            yield torch.device("cuda", place)


@contextmanager
def acquired_for_processes(choice: str, count: int) -> Iterator[dict[str, str]]:
    """Holds as many GPUs for as many processes that this one starts.

    Args:
        choice: as for :func:`pick_device`.
        count: processes, one GPU each.

    Yields:
        The environment variables that let them see these GPUs only; none without a GPU.

    Raises:
        UserError: this machine has no such device, or too few.
    """
    if pick_device(choice).type != "cuda":
        yield {}
        return
    names = _gpus()
    if count > len(names):
        raise UserError(f"runtime.processes: {count} is not allowed. Allowed: at most {len(names)}, the GPUs here.")
    with locked(names, count) as places:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(f"GPU-{names[place]}" for place in places)}


def _gpus() -> list[str]:
    """Names the GPUs that this process may use by what does not depend on which others it sees."""
    return [str(torch.cuda.get_device_properties(place).uuid) for place in range(torch.cuda.device_count())]


@contextmanager
def locked(names: Sequence[str], count: int = 1, folder: Path | None = None) -> Iterator[list[int]]:
    """Locks some things that no other process has locked, waiting until so many are free.

    The operating system releases the locks when the process ends, however it ends; children do not inherit them. A
    process that waits holds none, so that two that need several cannot wait for each other.

    Args:
        names: what the things are called on this machine, whatever number a process knows them by.
        count: how many to lock, at most as many as there are.
        folder: where the lock files lie; a folder of the user's for temporary files when not given.

    Yields:
        The places of the locked ones in ``names``.
    """
    folder = folder or Path(tempfile.gettempdir(), f"clce-bench-{os.getuid()}", "devices")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{name}.lock").open("a")) for name in names]
        taken = _try_to_lock(files, count)
        if not taken:
            log.info("waiting for %d of %d devices", count, len(names))
        while not taken:
            time.sleep(random.uniform(0.5, 1.5) * POLL_SECONDS)
            taken = _try_to_lock(files, count)
        yield taken


def _try_to_lock(files: Sequence[IO[str]], count: int) -> list[int]:
    taken: list[int] = []
    for place, file in enumerate(files):
        with suppress(OSError):  # Another process has it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken.append(place)
        if len(taken) == count:
            return taken
    for place in taken:
        fcntl.lockf(files[place], fcntl.LOCK_UN)
    return []
