"""Folders of tests in memory, as far as the machine has it.

Tests replace thousands of files and commit to databases, and a disk may take a tenth of a second for each.
"""

import os
import shutil
import tempfile
from pathlib import Path

SHARED = Path("/dev/shm")
ENOUGH = 6 * 2**30


def keep_folders_in_memory():
    """Makes new temporary folders of this process and of those that it starts, unless told where they are to lie."""
    if "TMPDIR" not in os.environ and os.access(SHARED, os.W_OK) and _suits(SHARED):
        own = SHARED / f"clce-{os.getuid()}"  # A socket's path has at most 107 bytes, and Slurm's lie deep.
        own.mkdir(mode=0o700, exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)


def _suits(folder):
    """Whether there is room, and programs may be run from there."""
    return shutil.disk_usage(folder).free > ENOUGH and not os.statvfs(folder).f_flag & os.ST_NOEXEC
