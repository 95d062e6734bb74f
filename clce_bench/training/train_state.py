"""The state of a training run: its steps, its history, the time it took."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from clce_bench.records.environment import now

T = TypeVar("T")


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: counts from 1.
        time: when it ended, ISO 8601.
        loss: mean of the fused loss over the steps.
        learning_rate: at the last step.
        validation: accuracy on the validation part, in [0, 1]; on the test part under ``test-selection``.
        seconds: of training until then, validation included, without what a killed run lost.
        positives: mean number of rows of an anchor's class in its batch, views of its own image among them.
    """

    epoch: int
    time: str
    loss: float
    learning_rate: float
    validation: float
    seconds: float
    positives: float


@dataclass
class TrainState:
    """What training gave, and its state meanwhile.

    Attributes:
        history: the epochs that are done.
        diverged: why it ended early, if it did.
        step: steps done.
        epoch_steps: of them in the current epoch.
        epoch_loss: sum of the losses of these.
        seconds: spent so far.
        data_time: seconds of them spent waiting for data.
        resumed: how often it went on from a checkpoint.
    """

    history: list[Epoch] = field(default_factory=list)
    diverged: str | None = None
    step: int = 0
    epoch_steps: int = 0
    epoch_loss: float = 0.0
    seconds: float = 0.0
    data_time: float = 0.0
    resumed: int = 0

    @classmethod
    def resume(cls, saved: dict[str, Any]) -> "TrainState":
        """Goes on from what :func:`dataclasses.asdict` made of another one."""
        history = [Epoch(**epoch) for epoch in saved["history"]]
        return cls(**{**saved, "history": history, "resumed": saved["resumed"] + 1})

    @property
    def mean_loss(self) -> float:
        """Of the steps of the current epoch."""
        return self.epoch_loss / self.epoch_steps

    def add(self, loss: float) -> None:
        """Counts one more step."""
        self.step += 1
        self.epoch_steps += 1
        self.epoch_loss += loss

    def finish_epoch(self, accuracy: float, rate: float, positives: float) -> None:
        """Adds the current epoch to the history."""
        number = len(self.history) + 1
        self.history.append(Epoch(number, now(), self.mean_loss, rate, accuracy, self.seconds, positives))
        self.epoch_steps, self.epoch_loss = 0, 0.0

    def rows(self) -> list[dict[str, str | float | int]]:
        """Returns the history as dictionaries."""
        return [asdict(epoch) for epoch in self.history]

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts the block's time as training."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start

    def waiting_for(self, batches: Iterable[T]) -> Iterator[T]:
        """Passes batches on, and counts the time until each one is there."""
        stream, end = iter(batches), object()
        while True:
            start = time.perf_counter()
            batch = next(stream, end)
            waited = time.perf_counter() - start
            self.seconds += waited
            self.data_time += waited
            if batch is end:
                return
            yield batch  # type: ignore[misc]
