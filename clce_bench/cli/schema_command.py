"""The verb that tells editors what an experiment file may say."""

import json

import click


@click.command()
def schema() -> None:
    """Print a JSON schema with which editors complete and check experiment files.

    Example: clce-bench schema > experiment.schema.json
    """
    from clce_bench.experiment.json_schema import experiment_schema

    click.echo(json.dumps(experiment_schema(), indent=1, ensure_ascii=False))


COMMANDS = (schema,)
