"""The training loop: batches in, history and a trained model out."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict

from clce_bench.errors import Interrupted
from clce_bench.training import distributed
from clce_bench.training.batches import TrainBatches
from clce_bench.training.checkpoint import Checkpoints, Stop, stop_signals
from clce_bench.training.optimization import learning_rate, set_learning_rate
from clce_bench.training.progress import Progress
from clce_bench.training.random_state import RandomState
from clce_bench.training.step import Diverged, TrainStep
from clce_bench.training.train_state import TrainState

log = logging.getLogger(__name__)


def fit(
    train_step: TrainStep, batches: TrainBatches, validate: Callable[[], float], checkpoints: Checkpoints
) -> TrainState:
    """Trains a model in place, from its checkpoint if it has one.

    Args:
        train_step: holds the model and its cell.
        batches: what to train on.
        validate: measures the accuracy of the weights that count on the validation part.
        checkpoints: where to save and to continue from.

    Returns:
        The history. A loss that is not finite ends training before it can change the weights.

    Raises:
        Interrupted: the process was asked to end; a checkpoint is saved.
    """
    state = _resume(train_step, checkpoints)
    try:
        _run(train_step, batches, validate, checkpoints, state)
    except Diverged as error:
        state.diverged = f"{error} in epoch {len(state.history) + 1}, step {state.epoch_steps + 1}"
    else:
        train_step.restore_best()
    return state


def _run(
    train_step: TrainStep,
    batches: TrainBatches,
    validate: Callable[[], float],
    checkpoints: Checkpoints,
    state: TrainState,
) -> None:
    cell, recipe = train_step.cell, train_step.cell.recipe
    steps = recipe.step_count(batches.per_epoch)
    epochs = math.ceil(steps / batches.per_epoch)
    with (
        stop_signals() as stop,
        Progress(cell.name, steps, state.step, cell.batch_size, checkpoints.journal) as progress,
    ):
        for epoch in range(len(state.history), epochs):
            train_step.model.train()
            left = batches.epoch(epoch, state.epoch_steps, steps - state.step)
            for batch in state.waiting_for(left):
                with state.timed():
                    rate = learning_rate(recipe, cell.batch_size, state.step, steps)
                    set_learning_rate(train_step.optimizer, rate)
                    state.add(train_step(state.step, batch))
                progress.advance(state.mean_loss)
                if state.epoch_steps < batches.per_epoch and state.step < steps:
                    _save_if_due(train_step, checkpoints, state, stop)
            with state.timed():
                accuracy = validate()
            if "test-selection" in cell.hazards:
                train_step.keep_best(accuracy)
            log.info("%s", progress.line(epoch + 1, epochs, state.mean_loss, accuracy))
            state.finish_epoch(accuracy, rate, batches.positives(epoch))
            if state.step < steps:
                _save_if_due(train_step, checkpoints, state, stop)


def _save_if_due(train_step: TrainStep, checkpoints: Checkpoints, state: TrainState, stop: Stop) -> None:
    # The first process's clock decides for all.
    ending = distributed.all_reduce_any(stop.asked)
    if not (ending or distributed.all_reduce_any(checkpoints.due and distributed.rank() == 0)):
        return
    random = distributed.gather_objects(RandomState(train_step.device).states)
    if distributed.rank() == 0:
        checkpoints.save(state.step, {**train_step.state(), "training": asdict(state), "random": random})
    checkpoints.last = time.monotonic()
    if ending:
        raise Interrupted(f"stopped after step {state.step}; the same command goes on from there")


def _resume(train_step: TrainStep, checkpoints: Checkpoints) -> TrainState:
    saved = checkpoints.load()
    if saved is None or len(saved["random"]) != distributed.world_size():
        return TrainState()
    train_step.load(saved)
    RandomState(train_step.device, saved["random"][distributed.rank()]).restore()
    return TrainState.resume(saved["training"])
