"""A temperature that is learnt with the network."""

import math
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clce_bench.components.hyperparameters import check_hyperparameters
from clce_bench.losses.pairs import Pairs


class LearnedTemperature(nn.Module):
    """τ = exp(θ), so that it stays above 0, with θ a parameter.

    Args:
        start: τ before the first step, > 0.
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(start)))

    def extra_repr(self) -> str:
        """Shows the current value."""
        return f"{float(self.log.detach().exp()):g}"


Temperature = float | LearnedTemperature


def temperature_of(value: float | Literal["learned"], start: float) -> Temperature:
    """Makes a temperature of a hyper-parameter.

    Args:
        value: τ, or ``learned``.
        start: where a learnt one begins.

    Raises:
        ValueError: it is out of range.
    """
    if value == "learned":
        return LearnedTemperature(start)
    check_hyperparameters({"temperature": value})
    return value


def at_temperature(pairs: Pairs, temperature: Temperature) -> tuple[Pairs, float]:
    """Gives τ as a number, and pairs through whose similarities its gradient flows where it is learnt.

    A loss that takes similarities as s/τ only has the same gradient with s · (τ₀/τ) and the number τ₀, its value now:
    the factor is 1. So sums need no coefficients that carry a gradient.
    """
    if not isinstance(temperature, LearnedTemperature):
        return pairs, temperature
    theta: Tensor = _SharedGradient.apply(temperature.log.to(pairs.dtype))
    factor = (theta.detach() - theta).exp()
    return pairs.scaled(factor), math.exp(float(theta.detach()))


class _SharedGradient(torch.autograd.Function):
    """Averages a gradient over the processes, as distributed data parallel does with those of the network."""

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if dist.is_available() and dist.is_initialized():
            gradient = gradient.contiguous().clone()
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        return gradient
