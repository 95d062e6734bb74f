"""Where a result comes from: the machine and the packages."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clce_bench.machine import cpu_name

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy", "pandas", "clce_bench")


def environment() -> dict[str, Any]:
    """Describes the machine and the packages that this process runs with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": _gpu_name(),
        "host": platform.node(),
        "packages": package_versions(),
        "git_commit": _git_commit(),
    }


def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that results may depend on."""
    return {name: found for name in _PACKAGES if (found := _version(name))}


def now() -> str:
    """Returns the time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu_name() -> str | None:
    torch = sys.modules.get("torch")  # Asking must not cost an import of torch where it is not in use.
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
