"""What a person sees of a training run: a bar in a terminal, plain lines in a log, a journal that ``watch`` reads."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from clce_bench.records.environment import now
from clce_bench.training import distributed

JOURNAL = "progress.jsonl"
SECONDS = 30.0


class Progress:
    """Follows the steps of a run.

    Args:
        name: of the cell.
        steps: of the whole run.
        done: steps that were done before.
        batch_size: images per step.
        journal: a file that gets a line of JSON per epoch, and within one every 30 s; none when not given.
    """

    def __init__(self, name: str, steps: int, done: int, batch_size: int, journal: Path | None = None) -> None:
        self.journal, self.noted = journal, time.monotonic()
        self.steps, self.done, self.first, self.batch_size = steps, done, done, batch_size
        self.started = time.perf_counter()
        shown = sys.stderr.isatty() and distributed.rank() == 0
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
        self.bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown, transient=True)
        self.task = self.bar.add_task(name, total=steps, completed=done, note="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    @property
    def rate(self) -> float:
        """Images per second since this process began."""
        return (self.done - self.first) * self.batch_size / max(time.perf_counter() - self.started, 1e-9)

    def advance(self, loss: float) -> None:
        """Counts one more step; ``loss`` is the epoch's mean so far."""
        self.done += 1
        self.bar.update(self.task, advance=1, note=f"loss {loss:.4f}  {self.rate:,.0f} images/s")
        if time.monotonic() - self.noted >= SECONDS:
            self._note(loss)

    def line(self, epoch: int, epochs: int, loss: float, accuracy: float) -> str:
        """Sums an epoch up: loss, accuracy in [0, 1], speed, time left."""
        self._note(loss, epoch, epochs, accuracy)
        left = self._seconds_left()
        return (
            f"epoch {epoch}/{epochs}  loss {loss:.4f}  validation {accuracy:.1%}  {self.rate:,.0f} images/s  "
            f"{left // 60:.0f}:{left % 60:02.0f} left"
        )

    def _seconds_left(self) -> float:
        return (self.steps - self.done) * self.batch_size / max(self.rate, 1e-9)

    def _note(self, loss: float, epoch: int | None = None, epochs: int | None = None, accuracy: float = 0.0) -> None:
        """Appends a line to the journal in one go, so that a killed run leaves whole lines."""
        self.noted = time.monotonic()
        if self.journal is None or distributed.rank():
            return
        values = {"time": now(), "step": self.done, "steps": self.steps, "loss": loss}
        values |= {"epoch": epoch, "epochs": epochs, "validation": accuracy} if epoch else {}
        line = json.dumps({**values, "seconds_left": round(self._seconds_left(), 1)})
        with suppress(OSError):  # A full disk ends no training.
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
