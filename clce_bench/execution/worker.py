"""Starts a process in which torch is already imported, to which jobs hand their command lines.

Importing torch, timm and scikit-learn takes longer than many a cell trains. Inside a Snakemake run a warm process
(:mod:`clce_bench.execution.worker_process`) starts at once where heavy jobs are to run, or else with the first one.
Jobs hand it their command line, working directory, environment and output, and wait for the exit status
(:mod:`clce_bench.execution.worker_client`). Whenever it cannot be reached, a job does its own imports and gives the
same result.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from clce_bench.execution.worker_client import HEAVY_VERBS, VARIABLE
from clce_bench.execution.worker_process import is_alive
from clce_bench.machine import can_fork

# Training allocates and frees the same megabytes at every step. Left alone, glibc hands them back to the system each
# time, and a sixth of a small cell's time goes into page faults; other C libraries ignore these variables.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
LOG = Path("results/logs/worker.log")
"""What the process said, below the working directory: why it ended before its time."""
LONGEST = 90
"""Bytes of a folder's path: with the names in it, what systems allow for a socket's address."""
PATIENCE = 120.0
"""Seconds that a job waits for the imports, which on a busy machine with a slow disk take long."""


def allow(verbs: Iterable[str] = ()) -> None:
    """Lets the jobs that this process starts share a warm process for as long as this process lives.

    What was inherited is replaced: a job on another machine, or in another job of a cluster, has no part in it. Where
    a process with torch in it cannot fork, each job does its own imports.

    Args:
        verbs: of the jobs that will run here, as far as is known. With a heavy one among them the imports begin now,
            beside the jobs that come before it.
    """
    os.environ.pop(VARIABLE, None)
    if not can_fork():
        return
    folder = tempfile.mkdtemp(prefix="clce-")  # Nobody else may enter it, and so nobody else reach the socket in it.
    if len(os.fsencode(folder)) > LONGEST:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="clce-", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = json.dumps({"folder": folder, "owner": os.getpid()})
    if not HEAVY_VERBS.isdisjoint(verbs) and (process := _start(Path(folder), os.getpid())):
        threading.Thread(target=process.wait, daemon=True).start()  # Else it would seem alive after its end.


def _start(folder: Path, owner: int) -> subprocess.Popen[bytes] | None:
    """Starts the warm process, unless that was done before: importing twice at once would take longer."""
    starting = folder / "starting"
    try:
        starting.touch(exist_ok=False)
    except OSError:  # Another has, or the process that allowed it is on another machine, or gone.
        return None
    LOG.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "clce_bench.execution.worker_process", str(folder), str(owner)]
    with LOG.open("ab") as log:
        environment, nowhere = {**os.environ, **ALLOCATOR}, subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, stdin=nowhere, stdout=log, stderr=log)
    starting.write_text(str(process.pid))
    return process


def started(folder: Path, owner: int) -> bool:
    """Starts the warm process, unless another job has, and waits until it listens."""
    process = _start(folder, owner)
    starting, failed, deadline = folder / "starting", folder / "failed", time.monotonic() + PATIENCE
    while not (folder / "socket").exists() and time.monotonic() < deadline:
        if process and process.poll() is not None:  # Others must not wait for it.
            with suppress(OSError):
                failed.touch()
        if not folder.exists() or failed.exists() or _is_dead(starting):
            return False
        time.sleep(0.05)
    return True


def _is_dead(starting: Path) -> bool:
    """Whether the process that was started is known to have ended; its number is written just after its start."""
    try:
        number = starting.read_text()
    except OSError:
        return True
    return bool(number) and not is_alive(int(number))
