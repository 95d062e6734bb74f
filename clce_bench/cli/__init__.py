"""The command line: one verb per stage. A verb reads files, writes files, and works without Snakemake."""

import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

try:
    import click
except ModuleNotFoundError:
    print("clce-bench needs the whole pipeline: pip install 'clce_bench[pipeline]'", file=sys.stderr)
    sys.exit(2)

from clce_bench import __version__
from clce_bench.cli import (
    experiment_commands,
    inference_commands,
    power_command,
    result_commands,
    rounds_command,
    schema_command,
    stage_commands,
    status_commands,
)
from clce_bench.errors import Interrupted, UserError, storage_problem
from clce_bench.execution import interruption, worker


def main() -> None:
    """Runs the command line, in the worker process of a Snakemake run if there is one."""
    interruption.answer_briefly()
    try:
        status = worker.run(f"{__name__}:{command_status.__name__}", sys.argv[1:])
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
        traceback.print_exc()
        # Once more in one line, for those who see only the end of a log: some messages have pages.
        click.echo(f"error: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", err=True)
        return 1
    return 0


SECTIONS = {
    "Run an experiment": ("plan", "power", "rounds", "watch", "status", "why", "accept"),
    "Look at results": ("headline", "predict", "export-model"),
    "Keep and share results": ("verify", "prune", "export", "import"),
    "Extend": ("schema",),
    "Stages, which a run calls": (
        *("dataset", "splits", "episodes", "backbone", "features", "train", "evaluate", "measure"),
        *("tune", "summarize", "figures", "report", "track"),
    ),
}
"""Verbs by what a person wants."""


class SectionedGroup(click.Group):
    """A group whose help lists verbs in sections, each with the whole first sentence of its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        width = max(map(len, self.commands)) + 2
        for title, names in SECTIONS.items():
            with formatter.section(title):
                listed = [(name.ljust(width - 2), self.commands[name].get_short_help_str(limit=300)) for name in names]
                formatter.write_dl(listed)


@click.group(cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clce-bench")
def cli() -> None:
    """Find out whether fusing contrastive learning with cross-entropy makes image classifiers better."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # It tells of every table of every font in a PDF.


for _command in (
    *experiment_commands.COMMANDS,
    *status_commands.COMMANDS,
    *result_commands.COMMANDS,
    *inference_commands.COMMANDS,
    *power_command.COMMANDS,
    *rounds_command.COMMANDS,
    *schema_command.COMMANDS,
    *stage_commands.COMMANDS,
):
    cli.add_command(_command)
