"""The state of torch's global generators, to draw the same numbers again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class RandomState:
    """The state of the CPU's generator and of a device's, as of now.

    Args:
        device: the device.
        states: take these instead, from :attr:`states` of another one.
    """

    def __init__(self, device: torch.device, states: list[Tensor] | None = None) -> None:
        self.device = device
        self.states = states or [torch.get_rng_state(), *([_module(device).get_rng_state()] if _own(device) else [])]

    def restore(self) -> None:
        """Goes back to this state."""
        torch.set_rng_state(self.states[0])
        if _own(self.device):
            _module(self.device).set_rng_state(self.states[1])

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draws from this state inside the block, and goes on as if nothing had been drawn after it."""
        with torch.random.fork_rng([self.device] if _own(self.device) else [], device_type=self.device.type):
            self.restore()
            yield


def _own(device: torch.device) -> bool:
    return device.type != "cpu"


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)
