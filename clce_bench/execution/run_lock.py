"""One run at a time in a working directory, held by a lock that the system releases however a run ends.

Snakemake's own lock is a file that a killed run leaves, and that the end of any other run in the folder removes.
"""

import fcntl
import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import IO

from clce_bench.errors import UserError
from clce_bench.execution.jobs_at_work import is_locked, jobs_at_work

PLACE = Path(".snakemake/run.lock")
"""Says which process holds the folder, or held it last."""
SNAKEMAKES = Path(".snakemake/locks")

_held: list[IO[str]] = []


def hold_folder() -> bool:
    """Holds the working directory for as long as this process lives.

    Returns:
        Whether a run that was killed had left Snakemake's lock, which is removed.

    Raises:
        UserError: another run is under way here.
    """
    PLACE.parent.mkdir(exist_ok=True)
    file = PLACE.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{Path.cwd()}: {_holder()} runs here. Wait until it has ended, or end it.") from None
    except OSError:
        return False  # A file system without such locks: Snakemake's own has to do.
    _held.append(file)  # An open file holds the lock.
    last = _said()
    left = list(SNAKEMAKES.glob("*.lock"))
    if left and last.get("host", platform.node()) != platform.node():
        return False  # Not every file system tells machines of each other's locks.
    for path in left:
        path.unlink()
    file.truncate(0)
    file.write(json.dumps({"process": os.getpid(), "host": platform.node()}))
    file.flush()
    return bool(left)


def refuse_if_held() -> None:
    """Makes sure that nothing works in the working directory that may need what is about to change.

    Raises:
        UserError: a run is under way there, or a job that a killed one has left.
    """
    for said in jobs_at_work().values():
        raise UserError(f"{Path.cwd()}: {said} and may need what would change; wait until it has ended.")
    if is_held():
        why = "runs here and may need what would change; wait until it has ended"
        raise UserError(f"{Path.cwd()}: {_holder()} {why}.")


def is_held() -> bool:
    """Says whether a run is under way in the working directory; no where the file system has no such locks."""
    return is_locked(PLACE)


def _holder() -> str:
    said = _said()
    return f"Snakemake, process {said.get('process', '?')} on {said.get('host', '?')},"


def _said() -> dict[str, object]:
    with suppress(OSError, ValueError):
        said = json.loads(PLACE.read_text())
        return said if isinstance(said, dict) else {}
    return {}
