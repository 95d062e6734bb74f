"""What each part of the check is given, and what it gives back."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Setting:
    """How large the parts are.

    Attributes:
        device: where they run.
        tiny: a size that a CPU finishes in seconds, to see that everything works.
    """

    device: torch.device
    tiny: bool

    def either(self, full: Any, tiny: Any) -> Any:
        """Chooses by size."""
        return tiny if self.tiny else full


@dataclass
class Verdict:
    """What a part found.

    Attributes:
        passed: whether it is as it should be.
        says: one sentence with the numbers that decide.
        rows: all numbers, as a table.
    """

    passed: bool
    says: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def synchronise(device: torch.device) -> None:
    """Waits until a device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_of(work: Callable[[], object], device: torch.device) -> float:
    """Returns the most memory that some work takes beyond what was there, in MiB; 0 on a CPU, which keeps no count."""
    if device.type != "cuda":
        work()
        return 0.0
    synchronise(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    synchronise(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def seconds_of(work: Callable[[], object], device: torch.device, least: float, fewest: int = 2) -> float:
    """Repeats some work for about ``least`` seconds, and at least ``fewest`` times; returns the shortest time."""
    found: list[float] = []
    while len(found) < fewest or sum(found) < least:
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return min(found)


def in_turns(works: Sequence[Callable[[], object]], device: torch.device, rounds: int) -> list[tuple[float, ...]]:
    """Lets several works take turns; returns the seconds of each, round by round. The first rounds warm up."""
    return [tuple(seconds_of(work, device, 0.0, 1) for work in works) for _ in range(rounds)]


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the norm of a difference, relative to that of the second.

    Raises:
        ValueError: the second is zero: whatever made it computes nothing.
    """
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    if not other.norm():
        raise ValueError("what is compared is zero")
    return float((one - other).norm() / other.norm())
