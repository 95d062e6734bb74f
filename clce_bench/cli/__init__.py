"""The command line: one verb per stage. A verb reads files, writes files, and works without Snakemake.

A run of Snakemake calls it for each job, and most jobs only hand their command line on, so little is imported here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from clce_bench.errors import Interrupted, UserError, storage_problem
from clce_bench.execution import interruption, worker_client


def main() -> None:
    """Runs the command line, in the worker process of a Snakemake run if there is one."""
    interruption.answer_briefly()
    try:
        status = worker_client.run(f"{__name__}:{command_status.__name__}", sys.argv[1:])
        status = command_status(sys.argv[1:]) if status is None else status
    except KeyboardInterrupt:
        status = 130
    if status == 130 and interruption.was_interrupted():
        interruption.end_by_signal()
    sys.exit(status)


def command_status(arguments: Sequence[str]) -> int:
    """Runs a command line here.

    Args:
        arguments: what follows ``clce-bench``.

    Returns:
        The exit status: 0, 2 for bad input, 75 when asked to end with the work saved, 1 for anything unforeseen.
    """
    try:
        import click
    except ModuleNotFoundError:
        print("clce-bench needs the whole pipeline: pip install '.[pipeline]' in its clone", file=sys.stderr)
        return 2
    from clce_bench.cli.commands import cli

    sys.path.insert(0, str(Path.cwd()))  # Losses of the user are found beside the experiment file.
    try:
        cli.main(list(arguments), prog_name="clce-bench", standalone_mode=False)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except Interrupted as error:
        click.echo(str(error), err=True)
        return 75
    except SystemExit as error:
        return int(error.code or 0)
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except Exception as error:
        if problem := storage_problem(error):
            click.echo(f"error: {problem}", err=True)
            return 2
        import traceback

        traceback.print_exc()
        # Once more in one line, for those who see only the end of a log: some messages have pages.
        click.echo(f"error: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", err=True)
        return 1
    return 0
