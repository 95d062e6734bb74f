"""The order of tests: long ones first, so that no test process works alone at the end."""

import os
from itertools import islice

LONG = (
    "test_slurm.py",
    "test_reruns.py",
    "test_processes.py",
    "test_tracking_server.py",
    "test_status_commands.py",
    "test_workflow.py",
    "test_logged_model.py",
    "test_internals.py",
    "test_machine.py",
)
"""Files whose tests run clusters, servers and whole workflows.

The first mostly waits. The second makes the run that others copy, for which the third does not wait.
"""


def dealt(items):
    """Deals the long files out to the test processes, each of which gets the next equal share of all tests."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for name in LONG for item in items if item.path.name == name]
    rest = iter([item for item in items if item.path.name not in LONG])
    found = []
    for number in range(processes):
        found += [item for item in long if LONG.index(item.path.name) % processes == number]
        found += islice(rest, max(0, (number + 1) * len(items) // processes - len(found)))
    return found
