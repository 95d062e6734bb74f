"""Python interpreters that have imported light packages, and nothing of this project: forked, as importing is dear.

What they run of ``clce_bench`` is imported from where ``PYTHONPATH`` says, as in any new process. Neither torch nor
mlflow is among the packages, so that a test still sees what imports them.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

ADDRESS = "CLCE_BENCH_TEST_INTERPRETERS"
"""The variable that says where the server of this test run listens."""

PACKAGES = (
    "click",
    "filelock",
    "grimp",
    "jinja2",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "requests",
    "rich.console",
    "scipy.optimize",
    "scipy.stats",
    "snakemake.cli",
    "threadpoolctl",
    "yaml",
)


@contextmanager
def served():
    """Serves interpreters to this process and to those that it starts. Whoever asks first waits for the imports."""
    folder = tempfile.mkdtemp()
    os.environ[ADDRESS] = f"{folder}/socket"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # Threads do not survive a fork.
    command = [sys.executable, "-P", __file__, folder]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    process.stdout.readline()  # It listens.
    try:
        yield
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def python(*arguments, cwd=None, env=None, check=False, timeout=None):
    """Does what ``subprocess.run([sys.executable, *arguments], capture_output=True, text=True, …)`` does."""
    request = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "environment": dict(env or os.environ)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [b"\0"], [out.fileno(), err.fileno()])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            number = int(answer.readline())
            connection.settimeout(timeout)
            try:
                status = int(answer.readline())
            except TimeoutError:
                os.kill(number, signal.SIGKILL)
                raise
        printed = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    done = subprocess.CompletedProcess(["python", *arguments], status, *printed)
    if check:
        done.check_returncode()
    return done


def share_compiled(source, target):
    """Lets these interpreters take what they have compiled of a folder for a copy of it too, which has its times."""
    compiled = Path(os.environ[ADDRESS]).with_name("compiled")
    own, other = (compiled / path.relative_to(path.anchor) for path in (source, target))
    if own.exists():
        shutil.copytree(own, other)


def _serve(folder):
    """Answers requests until the test run is gone; returns, with what was asked for, in a forked interpreter only."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        listener.settimeout(5)
        print("listening", flush=True)
        owner = os.getppid()
        while owner == os.getppid():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            for name in PACKAGES:
                importlib.import_module(name)
            assert not {"clce_bench", "torch", "mlflow"} & set(sys.modules)
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
            with connection.makefile() as lines:
                request = json.loads(lines.read())
            gc.freeze()  # Else the first collection in a fork copies all that was imported.
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody asks how those that wait have ended.
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _wait_for_fork(connection)
                return _prepared(folder, request, descriptors)
            connection.close()
            for descriptor in descriptors:
                os.close(descriptor)
    sys.exit()


def _wait_for_fork(connection):
    """Forks again: returns in the fork, and tells who asked its number and how it ended."""
    number = os.fork()
    if not number:
        connection.close()
        return
    with suppress(OSError):  # Who asked may be gone.
        connection.sendall(f"{number}\n".encode())
    _, status = os.waitpid(number, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _prepared(folder, request, descriptors):
    for target, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # Each module of the project is compiled once for all of them, without a trace beside it.
    sys.dont_write_bytecode, sys.pycache_prefix = False, f"{folder}/compiled"
    return request["arguments"]


def _outcome(*arguments):
    """Returns the exit status of a program."""
    try:
        _become(*arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status):
    """Ends as Python does, but leaves the memory of all that was imported to the system: freeing it takes seconds."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def _become(kind, *arguments):
    """Does what ``python`` does with these arguments: ``-m`` and a module, ``-c`` and a program, or a script."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if kind == "-m":
        sys.path[:0], sys.argv = [str(Path.cwd()), *paths], list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[:0], sys.argv = ["", *paths], ["-c", *arguments[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
    else:
        sys.path[:0], sys.argv = [str(Path(kind).parent), *paths], [kind, *arguments]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _asked = _serve(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _end(_outcome(*_asked))
