"""Paths that executors of clusters put into shell commands."""

import re
from collections.abc import Mapping

from clce_bench.errors import UserError

PLAIN = re.compile(r"[A-Za-z0-9._/+@=,-]+")


def check_shell_names(paths: Mapping[str, object]) -> None:
    """Refuses paths that a shell could read as anything but a name.

    The executor for Slurm hands ``sbatch`` the command of a job within double quotes, where a shell still expands
    ``$(…)`` and back-quotes: what is in a path would run, on the head node and again on the compute node.

    Args:
        paths: what each is, and the path itself.

    Raises:
        UserError: one has other characters than letters, digits and ``._/+@=,-``.
    """
    for name, path in paths.items():
        if not PLAIN.fullmatch(str(path)):
            raise UserError(
                f"{name}: {str(path)!r} is not allowed on a cluster, where it becomes part of shell commands."
                " Allowed: letters, digits and ._/+@=,-"
            )
