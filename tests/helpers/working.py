"""A process that works on a job in the working directory until the block ends."""

import subprocess
import sys
from contextlib import contextmanager

HOLD = """
import sys
from pathlib import Path
from clce_bench.execution.jobs_at_work import at_work

with at_work(sys.argv[1], Path(sys.argv[2])):
    print("begun", flush=True)
    input()
"""


def start_working(verb, output):
    """Starts a process that says "begun" once it works on an output, and ends with a line on its standard input."""
    command = [sys.executable, "-c", HOLD, verb, str(output)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def working(verb, output):
    process = start_working(verb, output)
    assert process.stdout.readline() == "begun\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
