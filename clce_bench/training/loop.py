"""The training loop: batches in, history and a trained model out."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clce_bench.errors import Interrupted
from clce_bench.experiment.cells import Cell
from clce_bench.records.environment import now
from clce_bench.training import distributed
from clce_bench.training.batches import Inputs, epoch_batches
from clce_bench.training.checkpoint import Checkpoints, stop_signals
from clce_bench.training.optimization import learning_rate, set_learning_rate
from clce_bench.training.progress import Progress
from clce_bench.training.random_state import RandomState
from clce_bench.training.step import Diverged, Stepper

log = logging.getLogger(__name__)


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
    """

    epoch: int
    time: str
    loss: float
    learning_rate: float
    validation: float
    seconds: float


@dataclass
class Training:
    """What training gave, and where it stands meanwhile.

    Attributes:
        history: the epochs that are done.
        diverged: why it ended early, if it did.
        step: steps done.
        total: sum of the losses of the current epoch's steps.
        seconds: spent so far.
        waiting: share of them spent waiting for data.
        resumed: how often it went on from a checkpoint.
    """

    history: list[Epoch]
    diverged: str | None = None
    step: int = 0
    total: float = 0.0
    seconds: float = 0.0
    waiting: float = 0.0
    resumed: int = 0

    def rows(self) -> list[dict[str, str | float | int]]:
        """Returns the history as dictionaries."""
        return [asdict(epoch) for epoch in self.history]


def fit(
    stepper: Stepper,
    cell: Cell,
    inputs: Inputs,
    rows: NDArray[np.int64],
    labels: Tensor,
    validate: Callable[[], float],
    checkpoints: Checkpoints,
) -> Training:
    """Trains a model in place, from its checkpoint if it has one.

    Args:
        stepper: holds the model.
        cell: batch size, seed and recipe.
        inputs: gives the tail's inputs.
        rows: the training images.
        labels: label by image, (all images,), on the model's device.
        validate: measures the accuracy of the weights that count on the validation part.
        checkpoints: where to save and to go on from.

    Returns:
        The history. A loss that is not finite ends training before it can change the weights.

    Raises:
        Interrupted: the process was asked to end; a checkpoint is saved.
    """
    recipe, per_epoch = cell.recipe, len(rows) // cell.batch_size
    steps = recipe.epochs * per_epoch
    training = _resume(stepper, checkpoints)
    with stop_signals() as stop, Progress(cell.name, steps, training.step, cell.batch_size) as progress:
        for epoch in range(training.step // per_epoch, recipe.epochs):
            stepper.model.train()
            drawn = epoch_batches(
                *(rows, cell.batch_size, recipe.views, inputs.views, epoch, cell.dataset, cell.seed),
                same_crop="same-crop" in cell.hazards,
            )
            batches = [
                (distributed.own_share(images, recipe.views), distributed.own_share(views, recipe.views))
                for images, views in list(drawn)[training.step - epoch * per_epoch :]
            ]
            stream = inputs.stream(batches)
            for images, _ in batches:
                with _timed(training) as waited:
                    values = next(stream)
                    waited()
                    rate = learning_rate(recipe, cell.batch_size, training.step, steps)
                    set_learning_rate(stepper.optimizer, rate)
                    try:
                        loss = stepper.step(
                            training.step, values, labels[images], torch.from_numpy(images).to(labels.device)
                        )
                    except Diverged as error:
                        position = f"epoch {epoch + 1}, step {training.step % per_epoch + 1}"
                        training.diverged = f"{error} in {position}"
                        return training
                    training.total += distributed.mean_of(loss).item()
                    training.step += 1
                progress.advance(training.total / ((training.step - 1) % per_epoch + 1))
                ends = training.step % per_epoch == 0
                if ends:
                    with _timed(training):
                        stepper.evaluated.eval()
                        accuracy, mean = validate(), training.total / per_epoch
                        if "test-selection" in cell.hazards:
                            stepper.keep_best(accuracy)
                    done = Epoch(epoch + 1, now(), mean, rate, accuracy, training.seconds)
                    training.history.append(done)
                    training.total = 0.0
                    log.info("%s", progress.line(epoch + 1, recipe.epochs, mean, accuracy))
                if training.step < steps:
                    _checkpoint(stepper, checkpoints, training, stop.asked)
    stepper.restore_best()
    return training


@contextmanager
def _timed(training: Training) -> Iterator[Callable[[], None]]:
    start = time.perf_counter()

    def waited() -> None:
        training.waiting += time.perf_counter() - start

    yield waited
    training.seconds += time.perf_counter() - start


def _checkpoint(stepper: Stepper, checkpoints: Checkpoints, training: Training, stop: bool) -> None:
    # The first process's clock decides for all.
    ending = distributed.any_of(stop)
    if not (ending or distributed.any_of(checkpoints.due and distributed.rank() == 0)):
        return
    random = distributed.gather_objects(RandomState(stepper.device).states)
    if distributed.rank() == 0:
        checkpoints.save(training.step, {**stepper.state(), "training": asdict(training), "random": random})
    checkpoints.last = time.monotonic()
    if ending:
        raise Interrupted(f"stopped after step {training.step}; the same command goes on from there")


def _resume(stepper: Stepper, checkpoints: Checkpoints) -> Training:
    state = checkpoints.load()
    if state is None or len(state["random"]) != distributed.processes():
        return Training([])
    stepper.load(state)
    training = Training(**state["training"])
    training.history = [Epoch(**epoch) for epoch in state["training"]["history"]]
    training.resumed += 1
    RandomState(stepper.device, state["random"][distributed.rank()]).restore()
    return training
