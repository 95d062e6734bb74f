"""Finished cells that outlive their batch.

Several cells share one job of a cluster. When one of them fails, or the job is killed, Snakemake takes all for failed:
before it tries again it removes the outputs of the finished ones too. So a cell leaves hard links to its files, which
take no room, in a folder that Snakemake does not know, and the next attempt finds it finished.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clce_bench.files import canonical_json, staged

log = logging.getLogger(__name__)

FOLDER, LAST = "finished", "cell.json"
VARIABLE = "CLCE_BENCH_BATCH"
"""Set in jobs of a cluster."""


def keep_all() -> None:
    """Has the cells that this process and its children train leave links."""
    os.environ[VARIABLE] = "yes"


def keep(cell: Path) -> None:
    """Links the files of a finished cell, in a job of a cluster, if its file system knows such links."""
    if VARIABLE not in os.environ:
        return
    try:
        with staged(cell / FOLDER, LAST) as folder:
            _link(cell, folder)
    except OSError as error:
        log.warning("%s: no hard links here, so it is trained again if its batch fails: %s", cell, error)


def restore(job: dict[str, Any], cell: Path) -> bool:
    """Brings back the files of a cell that this very job has finished before.

    Args:
        job: what is to be done.
        cell: the cell's folder.

    Returns:
        Whether there was nothing left to do.
    """
    record = cell / FOLDER / LAST
    if VARIABLE not in os.environ or not record.exists():
        return False
    if canonical_json(json.loads(record.read_text())["job"]) != canonical_json(job):
        return False
    with staged(cell, LAST) as folder:
        _link(record.parent, folder)
    return True


def forget(cells: Iterable[Path]) -> None:
    """Removes the links, once nothing can remove what they lead to any more."""
    for cell in cells:
        shutil.rmtree(cell / FOLDER, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    for name in ("history.csv", "model.safetensors", "embeddings.npz", LAST):
        (target / name).hardlink_to(source / name)
