"""All verbs of the command line, in sections; a verb's module is imported when it is asked for."""

import logging
from importlib import import_module

import click

from clce_bench import __version__

SECTIONS: dict[str, dict[str, str]] = {
    "Run an experiment": {
        "plan": "experiment_commands",
        "power": "power_command",
        "rounds": "rounds_command",
        "watch": "status_commands",
        "status": "status_commands",
        "why": "status_commands",
        "accept": "status_commands",
    },
    "Look at results": {
        "headline": "experiment_commands",
        "predict": "inference_commands",
        "export-model": "inference_commands",
    },
    "Keep and share results": dict.fromkeys(("verify", "prune", "export", "import"), "result_commands"),
    "Extend": {"schema": "schema_command"},
    "Stages, which a run calls": {
        **dict.fromkeys(("dataset", "splits", "labels", "episodes", "backbone"), "stage_commands"),
        **dict.fromkeys(("features", "corruptions", "train", "evaluate", "measure"), "stage_commands"),
        "tune": "experiment_commands",
        "summarize": "experiment_commands",
        "figures": "stage_commands",
        "report": "experiment_commands",
        "track": "experiment_commands",
    },
}
"""Verbs by what a person wants, each with the module that has it."""
MODULES = {verb: module for verbs in SECTIONS.values() for verb, module in verbs.items()}


class SectionedGroup(click.Group):
    """A group whose help lists verbs in sections, each with the whole first sentence of its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Lists all verbs, imported or not."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        """Imports the module of a verb."""
        if cmd_name in MODULES and cmd_name not in self.commands:
            for command in import_module(f"clce_bench.cli.{MODULES[cmd_name]}").COMMANDS:
                self.add_command(command)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        width = max(map(len, MODULES))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                found = {verb: self.get_command(ctx, verb) for verb in verbs}
                listed = [(verb.ljust(width), own.get_short_help_str(limit=300)) for verb, own in found.items() if own]
                formatter.write_dl(listed)


@click.group(cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clce-bench")
def cli() -> None:
    """Find out whether fusing contrastive learning with cross-entropy makes image classifiers better."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # It tells of every table of every font in a PDF.
