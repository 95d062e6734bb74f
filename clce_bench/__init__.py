"""A reproducible benchmark of losses that fuse contrastive learning with cross-entropy."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# What uses torch or pandas is imported when it is first asked for; by name, since no room is below this one.
_LAZY = {"load_cell": "clce_bench.inference.trained_cell", "load_results": "clce_bench.results.frames"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
