"""The state of a training run, on disk, so that one that was killed continues from there."""

import logging
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from clce_bench.training.progress import JOURNAL

log = logging.getLogger(__name__)

KEPT = 2
TOGETHER = 2.0
"""Seconds within which several signals are one request."""


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: theirs alone.
        identity: the job as text; only checkpoints of the very same job are read.
        seconds: least time between two of them.
    """

    def __init__(self, folder: Path, identity: str, seconds: float) -> None:
        self.folder, self.identity, self.seconds = folder, identity, seconds
        self.last = time.monotonic()

    @property
    def journal(self) -> Path:
        """The file in which a run says how far it is, see :mod:`clce_bench.training.progress`."""
        return self.folder / JOURNAL

    @property
    def due(self) -> bool:
        """Whether the next one should be saved now."""
        return time.monotonic() - self.last >= self.seconds

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all, and removes all but the newest ones.

        When the disk is full the ones before stay and the log says so: training continues.
        """
        path = self.folder / f"step-{step:09d}.pt"
        temporary = path.with_suffix(".writing")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save({"identity": self.identity, **state}, temporary)
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            temporary.unlink(missing_ok=True)
            log.error("%s: this checkpoint could not be saved (%s); the one before is kept", path, error)
        for old in self._paths()[:-KEPT]:
            old.unlink()
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Reads the newest checkpoint of this job that is whole; ``None`` when there is none."""
        for path in reversed(self._paths()):
            try:
                state: dict[str, Any] = torch.load(path, weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                log.warning("%s: cannot be read (%s); looking for an older one", path, error)
                continue
            if state.pop("identity", None) != self.identity:
                log.warning("%s: is of another job, code or data; not used", path)
                continue
            log.info("going on from %s", path)
            return state
        return None

    def remove(self) -> None:
        """Removes all checkpoints of this run, and the folder if it is empty then."""
        for path in [*self._paths(), *self.folder.glob("step-*.writing")]:
            path.unlink()
        self.journal.unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"))


class Stop:
    """Whether this process was asked to end, and when first."""

    asked = False
    since = 0.0


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turns SIGTERM, SIGUSR1 (a cluster's warning) and Ctrl-C into a request, which the next step answers.

    A second one ends the process at once, unless it comes with the first: a cluster signals all processes of a job, of
    which some pass it on.
    """
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            if time.monotonic() - stop.since > TOGETHER:
                raise KeyboardInterrupt
            return
        stop.asked, stop.since = True, time.monotonic()
        log.warning("%s: saving and stopping after this step", signal.Signals(number).name)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
