"""A process in which torch is already imported, and which forks one child per job.

It holds the package's modules too. A child runs the code as it is on disk: where a file of the package has changed
since, it imports the package anew. The process ends with the Snakemake run.
"""

import importlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

MODULES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "torch",
    "torchvision.transforms.v2",
    "torchvision.models.feature_extraction",
    "timm",
    "safetensors.torch",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "threadpoolctl",
    "matplotlib.pyplot",
    "scipy.stats",
    "clce_bench.cli.stage_commands",
    "clce_bench.cli.experiment_commands",
    "clce_bench.training.train",
    "clce_bench.evaluation.evaluate",
    "clce_bench.figures.render",
)
PACKAGE = Path(__file__).parents[1]
POLL_SECONDS = 0.5
LENGTH = struct.Struct("!Q")
"""How the length of a request is written before it."""


def serve(folder: Path, owner: int) -> None:
    """Imports the heavy modules, then forks a child for each request until the owner is gone."""
    imported = _state()
    for name in MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Children report their status themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the owner, and thereby this process.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "binding"))
        listener.listen(64)
        (folder / "binding").rename(folder / "socket")  # Whoever sees it can connect.
        while is_alive(owner):
            if not select.select([listener], [], [], POLL_SECONDS)[0]:
                continue
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _child(connection, imported)
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _state() -> set[tuple[str, int, int]]:
    """Returns what changes when a file of the package does."""
    found = set()
    for path in PACKAGE.rglob("*"):
        if "__pycache__" not in path.parts:
            with suppress(OSError):  # One that an editor has just replaced.
                stat = path.stat()
                found.add((str(path), stat.st_mtime_ns, stat.st_size))
    return found


def _forget() -> None:
    """Has the next import read the package's files again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE.name]:
        del sys.modules[name]


def _child(connection: socket.socket, imported: set[tuple[str, int, int]]) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        header, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 2)
        (length,) = LENGTH.unpack(header)
        request = json.loads(b"".join(_receive(connection, length)))
        for target, descriptor in zip((1, 2), descriptors, strict=True):
            os.dup2(descriptor, target)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        threading.Thread(target=_follow, args=(connection,), daemon=True).start()
        if _state() != imported:
            _forget()
        sys.argv = ["clce-bench", *request["arguments"]]
        module, _, function = request["command"].partition(":")
        status = getattr(importlib.import_module(module), function)(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # The job may be gone before this child is.
        with suppress(OSError):
            connection.sendall(bytes([status]))
        os._exit(status)


def _receive(connection: socket.socket, length: int) -> list[bytes]:
    chunks = []
    while length:
        chunk = connection.recv(length)
        if not chunk:
            os._exit(1)
        chunks.append(chunk)
        length -= len(chunk)
    return chunks


def _follow(connection: socket.socket) -> None:
    """Gives this child the signals that the job gets, and ends it, as Ctrl-C would, when the job is gone."""
    while number := connection.recv(1):
        os.kill(os.getpid(), number[0])
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
