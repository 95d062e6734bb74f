"""Which jobs work in a folder: each holds a lock that the system releases however the job ends.

A run that is killed leaves jobs behind. They end by themselves (:mod:`clce_bench.execution.worker_client`), training
with its work saved; until they have, nobody else may begin the same work.
"""

import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from clce_bench.files import digest, read_stored

log = logging.getLogger(__name__)

FOLDER = Path(".snakemake/jobs")
"""A file per job, below the working directory; there are none where Snakemake never ran."""
POLL_SECONDS = 0.2


@contextmanager
def at_work(verb: str, output: Path) -> Iterator[None]:
    """Works on a result alone, after any other process that does.

    Of several processes that train one cell, the first speaks for all.

    Args:
        verb: the stage.
        output: what is made.
    """
    file = None if os.environ.get("RANK", "0") != "0" else _locked(verb, output)
    try:
        yield
    finally:
        if file:
            Path(file.name).unlink(missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_UN)  # Not by closing it alone: forked processes have it too.
            file.close()


def jobs_at_work() -> dict[Path, str]:
    """Says of each job that works in this folder which process it is, by the file of its lock."""
    return {path: _said(path) for path in sorted(FOLDER.glob("*.json")) if is_locked(path)}


def wait_for_jobs(tell: Callable[[str], None]) -> bool:
    """Waits until no job works in this folder any more.

    Args:
        tell: is told of each job that is waited for.

    Returns:
        Whether there was one.
    """
    found = jobs_at_work()
    for path, said in found.items():
        tell(
            f"{said}, left by a run that was killed. It saves its work and ends by itself (kill -9: at once). Waiting."
        )
        while is_locked(path):
            time.sleep(POLL_SECONDS)
    return bool(found)


def _locked(verb: str, output: Path) -> IO[str] | None:
    """Locks the file of a job; ``None`` where there is no place for it, or no such locks."""
    path = FOLDER / f"{digest([verb, str(output.resolve())], length=16)}.json"
    if not FOLDER.parent.is_dir():
        return None
    try:
        FOLDER.mkdir(exist_ok=True)
        while True:
            file = path.open("a")
            if is_locked(path):
                log.info("%s: waiting", _said(path))
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                break
            file.close()  # Whoever held it has removed it meanwhile.
        file.truncate(0)
        said = {"process": os.getpid(), "host": platform.node(), "verb": verb, "output": str(output)}
        file.write(json.dumps(said))
        file.flush()
    except OSError:
        return None
    return file


def is_locked(path: Path) -> bool:
    """Says whether a process that lives holds the lock of a file; no where the file system has no such locks."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _said(path: Path) -> str:
    said = read_stored(path) or {}
    process, host = said.get("process", "?"), said.get("host", "?")
    return f"{said.get('verb', 'a job')} {said.get('output', '')}: process {process} on {host} still works on it"
