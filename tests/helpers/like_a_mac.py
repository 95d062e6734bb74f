"""Takes from Python what a Mac does not have, in this process and, as a ``sitecustomize``, in all that it starts."""

import multiprocessing
import os
import resource
import shutil
import socket
import sys
from pathlib import Path

LONGEST_SOCKET = 103
"""Bytes of a socket's path there."""
NOT_THERE = ("/proc", "/dev/shm")
OWN = os.environ.get("TMPDIR", "/tmp")
"""Where tests have their folders, perhaps in memory."""
ASK_OTHERWISE = ("psutil", "threadpoolctl")
"""Packages that read these files on Linux and ask a Mac in another way."""


def environment(folder):
    """Makes programs that get it find no more than a Mac has."""
    shutil.copy(__file__, Path(folder, "sitecustomize.py"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


def take_away():
    del os.sched_getaffinity
    whole = resource.getrusage

    def getrusage(who):
        found = list(whole(who))
        found[2] *= 1024  # Bytes there, kilobytes here.
        return resource.struct_rusage(found)

    resource.getrusage = getrusage
    multiprocessing.set_start_method("spawn")
    multiprocessing.get_all_start_methods = lambda: ["spawn", "fork", "forkserver"]
    interfaces = [(number, "lo0" if name == "lo" else name) for number, name in socket.if_nameindex()]
    socket.if_nameindex = lambda: interfaces
    sys.addaudithook(refuse)


def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
        path = os.fsdecode(arguments[0])
        hidden = path.startswith(NOT_THERE) and not path.startswith(OWN)
        if hidden and not any(name in caller for caller in callers() for name in ASK_OTHERWISE):
            raise FileNotFoundError(2, "No such file or directory", path)
    elif event == "os.fork" and "torch" in sys.modules:
        raise OSError("a process forks that has torch loaded")
    elif event in ("socket.bind", "socket.connect") and len(os.fsencode(socket_path(arguments[1]))) > LONGEST_SOCKET:
        raise OSError("AF_UNIX path too long")


def socket_path(address):
    return address if isinstance(address, str | bytes) else ""


def callers():
    frame = sys._getframe(2)
    while frame:
        yield frame.f_code.co_filename
        frame = frame.f_back


if __name__ == "sitecustomize":
    take_away()
