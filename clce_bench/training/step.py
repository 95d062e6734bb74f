"""One optimisation step, with everything that a recipe may ask of it."""

import copy
import logging
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from timm.data import Mixup
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses.fused import FusedLoss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.seeds import seed_for
from clce_bench.training import distributed
from clce_bench.training.gradient_cache import cached_backward
from clce_bench.training.momentum_encoder import MomentumEncoder
from clce_bench.training.optimization import build_optimizer
from clce_bench.training.random_state import RandomState

log = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss is not a finite number. The weights are those before the step."""


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: of the network, (rows, …).
        labels: (rows,).
        instance_ids: which image each row is a view of, (rows,).
    """

    inputs: Tensor
    labels: Tensor
    instance_ids: Tensor


class TrainStep:
    """Takes optimisation steps.

    Args:
        model: on its device; the weights of this object are what steps change.
        loss: takes logits, embeddings, labels and instance ids.
        cell: its recipe, and the axes of the randomness.
        runtime: micro-batches, compilation.
        classes: number of classes, for mixed labels.
        momentum_encoder: what the loss compares with, if it asks for one.
    """

    def __init__(
        self,
        model: ContrastiveClassifier,
        loss: FusedLoss,
        cell: Cell,
        runtime: Runtime,
        classes: int,
        momentum_encoder: MomentumEncoder | None = None,
    ) -> None:
        self.model, self.loss, self.cell, recipe = model, loss, cell, cell.recipe
        self.optimizer = build_optimizer(model, loss, cell)
        self.device = next(model.parameters()).device
        self.precision = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[recipe.precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        self.ema = ModelEmaV3(model, decay=recipe.ema, use_warmup=True) if recipe.ema else None
        self.momentum_encoder = momentum_encoder
        self.micro_batch = runtime.micro_batch if isinstance(runtime.micro_batch, int) else None
        self.shrinks = runtime.micro_batch == "auto"
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.mixup: Mixup | None = None
        if recipe.mixup or recipe.cutmix:
            self.mixup = Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=classes)
        network: nn.Module = distributed.wrap(model, self.device)
        self.network: Any = torch.compile(network) if runtime.compile else network

    @property
    def eval_model(self) -> ContrastiveClassifier:
        """The model whose weights count: the moving average where there is one."""
        model: ContrastiveClassifier = self.ema.module if self.ema else self.model
        return model

    def keep_best(self, accuracy: float) -> None:
        """Remembers the weights if no earlier epoch was as accurate."""
        if self.best is None or accuracy > self.best[0]:
            self.best = accuracy, {name: value.clone() for name, value in self.eval_model.state_dict().items()}

    def restore_best(self) -> None:
        """Goes back to the weights that were kept, if any were."""
        if self.best:
            self.eval_model.load_state_dict(self.best[1])

    def __call__(self, number: int, batch: Batch) -> float:
        """Takes one step.

        Args:
            number: of the step, from 0; an axis of the randomness.
            batch: inputs, labels and instance ids.

        Returns:
            The loss before the step, the mean over all processes.

        Raises:
            Diverged: the loss is not finite.
        """
        inputs, targets = self._mix(number, batch) if self.mixup else (batch.inputs, batch.labels)
        measured = math.nan

        def total(_features: Tensor, logits: Tensor | None, embeddings: Tensor | None) -> Tensor:
            nonlocal measured
            logits = None if logits is None else logits.float()
            compared = self.momentum_encoder and self.momentum_encoder.embed(inputs, self.micro_batch or len(inputs))
            value: Tensor = self.loss(logits, embeddings, targets, batch.instance_ids, compared)
            # The one moment that a step waits for its device: what is not finite must be known before weights change.
            measured = distributed.all_reduce_mean(value.detach()).item()
            if not math.isfinite(measured):
                raise Diverged(f"the loss was {measured}")
            scaled: Tensor = self.scaler.scale(value)
            return scaled

        self._backward(inputs, total)
        distributed.average_gradients(self.loss)
        self.scaler.unscale_(self.optimizer)
        if self.cell.recipe.clip_gradient:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.cell.recipe.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema:
            self.ema.update(self.model, step=number)
        if self.momentum_encoder:
            self.momentum_encoder.follow(self.model, number)
        return measured

    def _backward(self, inputs: Tensor, total: Any) -> None:
        state = RandomState(self.device)
        remembered = copy.deepcopy(self.loss.state_dict()) if self.shrinks else {}
        while True:
            self.optimizer.zero_grad()
            try:
                with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
                    cached_backward(self.network, inputs, total, self.micro_batch or len(inputs))
                return
            except BackendCompilerFailed as error:
                cause = str(error.inner_exception).partition("\n")[0]
                raise UserError(f"runtime.compile: true: torch.compile fails here: {cause} Allowed: false.") from None
            except torch.OutOfMemoryError:
                rows = self.micro_batch or len(inputs)
                if not self.shrinks or rows == 1:
                    raise
            # Outside the handler, which would keep the failed graph alive.
            self.micro_batch = (rows + 1) // 2
            log.info("out of memory at %d rows: going on with micro-batches of %d", rows, self.micro_batch)
            state.restore()
            self.loss.load_state_dict(remembered)

    def _mix(self, number: int, batch: Batch) -> tuple[Tensor, Tensor]:
        assert self.mixup is not None
        # timm draws from numpy's global generator.
        outside = np.random.get_state()
        np.random.seed(seed_for("mixup", dataset=self.cell.dataset, seed=self.cell.seed, step=number) % 2**32)
        mixed: tuple[Tensor, Tensor] = self.mixup(batch.inputs.to(torch.float32, copy=True), batch.labels)
        np.random.set_state(outside)
        return mixed

    def state(self) -> dict[str, Any]:
        """Returns everything that the next steps depend on, but for the random numbers."""
        return {
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "momentum_encoder": self.momentum_encoder.model.state_dict() if self.momentum_encoder else None,
            "best": self.best,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a state."""
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best = state["best"]
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        if self.momentum_encoder:
            self.momentum_encoder.model.load_state_dict(state["momentum_encoder"])
