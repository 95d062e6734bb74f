"""What the jobs of a workflow are told around their commands, from how Snakemake was started."""

import getpass
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clce_bench.errors import UserError, storage_problem
from clce_bench.experiment.recipes import Runtime

DEFAULT_EXPERIMENT = "config.yaml"


@contextmanager
def ending_with_a_message() -> Iterator[None]:
    """Ends the process as ``clce-bench`` ends when the input is bad: one message, status 2."""
    try:
        yield
    except (UserError, OSError) as error:
        message = str(error) if isinstance(error, UserError) else storage_problem(error)
        if not message:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def name_the_user() -> None:
    """Gives a user who has no entry in the system's list, as in many containers, the name that Snakemake asks for."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user-{os.getuid()}"


def experiment_file(configfiles: Sequence[object], overrides: Sequence[str] = ()) -> str:
    """Names the experiment file: the one given with ``--configfile``, else the default one.

    Args:
        configfiles: what was given with ``--configfile``.
        overrides: keys given with ``--config``.

    Raises:
        UserError: there are several files, or values beside the file: results would be those of no file.
    """
    if len(set(map(str, configfiles))) > 1:
        listing = ", ".join(map(str, configfiles))
        raise UserError(f"--configfile: {listing}: give one experiment file; they are not merged.")
    if overrides:
        raise UserError(f"--config: {', '.join(overrides)} is not allowed; write it into the experiment file.")
    return str(configfiles[0]) if configfiles else DEFAULT_EXPERIMENT


def shell_prefix(runtime: Runtime, source: str, contained: bool) -> str:
    """Returns what every job's command begins with: which ``clce-bench`` is meant, and how to run.

    Jobs call the ``clce-bench`` beside the Python that reads the workflow, whether its environment is active or not.
    In a container or a conda environment they run the code that is here, for that is what results are marked with.
    How they run is told by a variable: as a parameter of a rule it would run them again when it changes.

    Args:
        runtime: of the experiment.
        source: the folder of the Snakefile.
        contained: whether jobs run in a container or a conda environment.

    Returns:
        Text for ``snakemake.shell.shell.prefix``, which formats it: literal braces are doubled.
    """
    prefix = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    if contained:
        prefix = f'export PYTHONPATH={shlex.quote(source)}; clce-bench() {{ python -m clce_bench.cli "$@"; }}'
    variable = f"export CLCE_BENCH_RUNTIME={shlex.quote(runtime.model_dump_json())}"
    return f"{prefix}; {variable}; ".replace("{", "{{").replace("}", "}}")


def command_line() -> str:
    """Returns the command for what follows a run: the Python that reads the workflow, also where jobs run elsewhere."""
    return f"{shlex.quote(sys.executable)} -m clce_bench.cli"


def paths_in_commands(experiment: str, snakefile: str) -> dict[str, str]:
    """Lists the paths that an executor puts into the commands of jobs, by what they are."""
    return {
        "the experiment file": experiment,
        "the working directory": str(Path.cwd()),
        "the Snakefile": snakefile,
        "Python": sys.executable,
    }
