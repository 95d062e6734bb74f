"""Hands a job's command line to the warm process of its run: :mod:`clce_bench.execution.worker` says what that is.

Hundreds of jobs do nothing else, so little is imported here. Jobs end with their run, also when it was killed: nobody
waits for them any more.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from clce_bench.execution.worker_process import LENGTH, POLL_SECONDS, is_alive

VARIABLE = "CLCE_BENCH_WARM"
"""Says to the jobs of a run where its warm process listens."""
HEAVY_VERBS = {"features", "corruptions", "train", "evaluate", "measure"}
"""Those with which the process starts, unless the run has started it."""
WAITING_VERBS = {"backbone"}
"""Those that need torch too, but are not reason enough to start it."""


def run(command: str, arguments: Sequence[str]) -> int | None:
    """Has the worker process run a command line of ``clce-bench``.

    Args:
        command: the function that runs one, as ``module:name``: it takes the arguments and returns the exit status.
        arguments: what follows ``clce-bench``; the first is the verb.

    Returns:
        The exit status, or ``None`` if the caller has to run the command itself.
    """
    if VARIABLE not in os.environ or not arguments:
        return None
    place = json.loads(os.environ[VARIABLE])
    folder = Path(place["folder"])
    threading.Thread(target=_end_with, args=(place["owner"],), daemon=True).start()
    request = {
        "command": command,
        "arguments": list(arguments),
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    message = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        if not _connect(connection, folder / "socket"):
            begun = (folder / "starting").exists()
            if arguments[0] not in (HEAVY_VERBS | WAITING_VERBS if begun else HEAVY_VERBS):
                return None
            from clce_bench.execution.worker import started

            if not (started(folder, place["owner"]) and _connect(connection, folder / "socket")):
                return None
        socket.send_fds(connection, [LENGTH.pack(len(message))], [1, 2])
        connection.sendall(message)
        with _passed_on(connection):
            status = connection.recv(1)
    return status[0] if status else 1


def _end_with(owner: int) -> None:
    """Asks this process to end, with its work saved if it can, when the run that it belongs to is gone."""
    while is_alive(owner):
        time.sleep(POLL_SECONDS)
    # The main thread may wait for a socket, which a signal to any other thread would not interrupt.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _connect(connection: socket.socket, path: Path) -> bool:
    try:
        connection.connect(str(path))
    except OSError:
        return False
    return True


@contextmanager
def _passed_on(connection: socket.socket) -> Iterator[None]:
    """Passes signals that ask for an end on to the child that does the work, and goes on waiting for it."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            connection.sendall(bytes([number]))

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
