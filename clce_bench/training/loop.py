"""The training loop: batches in, history and a trained model out."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clce_bench.cells import Cell
from clce_bench.losses import FusedLoss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.provenance import now
from clce_bench.training.batches import Inputs, epoch_batches


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: counts from 1.
        time: when it ended, ISO 8601.
        loss: mean of the fused loss over the steps.
        learning_rate: at the last step.
        validation: accuracy on the validation part, in [0, 1].
        seconds: since training began.
    """

    epoch: int
    time: str
    loss: float
    learning_rate: float
    validation: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """What training gave: the history, and why it ended early if it did."""

    history: list[Epoch]
    diverged: str | None

    def rows(self) -> list[dict[str, str | float | int]]:
        """Returns the history as dictionaries."""
        return [asdict(epoch) for epoch in self.history]


def fit(
    model: ContrastiveClassifier,
    loss: FusedLoss,
    cell: Cell,
    inputs: Inputs,
    rows: NDArray[np.int64],
    labels: Tensor,
    validate: Callable[[], float],
) -> Training:
    """Trains a model in place.

    Args:
        model: on its device.
        loss: takes logits, embeddings and labels.
        cell: batch size, seed and recipe.
        inputs: gives the tail's inputs.
        rows: the training images.
        labels: label by image, (all images,), on the model's device.
        validate: measures the accuracy on the validation part.

    Returns:
        The history. A loss that is not finite ends training before it can change the weights.
    """
    recipe = cell.recipe
    steps = recipe.epochs * (len(rows) // cell.batch_size)
    optimizer = torch.optim.AdamW(parameter_groups([model, loss], recipe.weight_decay), fused=True)
    peak = scaled_learning_rate(cell)
    history: list[Epoch] = []
    started, step = time.perf_counter(), 0
    for epoch in range(recipe.epochs):
        model.train()
        total = torch.zeros((), device=labels.device)
        count = 0
        batches = list(epoch_batches(rows, cell.batch_size, recipe.views, inputs.views, epoch, cell.dataset, cell.seed))
        for (batch, _), values in zip(batches, inputs.stream(batches), strict=True):
            rate = peak * schedule(step, steps, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _, logits, embeddings = model(values)
            value = loss(logits, embeddings, labels[batch])
            if not torch.isfinite(value):
                return Training(history, f"the loss was {value.item()} in epoch {epoch + 1}, step {count + 1}")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.detach()
            count, step = count + 1, step + 1
        model.eval()
        mean, accuracy = total.item() / count, validate()
        history.append(Epoch(epoch + 1, now(), mean, rate, accuracy, time.perf_counter() - started))
    return Training(history, None)


def scaled_learning_rate(cell: Cell) -> float:
    """Returns the peak learning rate for the cell's batch size."""
    exponent = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[cell.recipe.learning_rate_scaling]
    factor: float = (cell.batch_size / cell.recipe.reference_batch_size) ** exponent
    return cell.recipe.learning_rate * factor


def schedule(step: int, steps: int, warmup: float) -> float:
    """Returns the share of the peak learning rate: a linear rise, then half a cosine down to 0.

    Args:
        step: counts from 0.
        steps: of the whole training.
        warmup: share of the steps with a rising rate.
    """
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def parameter_groups(modules: Sequence[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Divides the parameters: matrices and filters decay, biases and normalisation do not."""
    trained = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
