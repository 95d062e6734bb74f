"""What this machine has. It is asked, not told by its name: Linux and macOS differ in every point here."""

import multiprocessing
import os
import platform
import resource
import socket
import subprocess
from functools import cache
from pathlib import Path

# psutil is imported where it is used: the losses, and gradient caching, need torch alone.


def usable_cores() -> int:
    """Returns how many cores this process may use, or how many there are where no process is held to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_name() -> str:
    """Names the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return _said_by_sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _said_by_sysctl(name: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes."""
    import psutil

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes or in kilobytes: the peak is not below what is in use now, about which systems are exact to some pages.
    return peak if peak > psutil.Process().memory_info().rss / 2 else peak * 1024


def memory_in_use() -> float:
    """Returns the share of the machine's memory that is not available, in [0, 1]."""
    import psutil

    return float(psutil.virtual_memory().percent) / 100


def can_fork() -> bool:
    """Whether a process that has loaded large libraries may fork: not where Python itself has ceased to by default."""
    return multiprocessing.get_all_start_methods()[0] != "spawn"


def loopback() -> str:
    """Names the network interface that reaches this machine alone."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
