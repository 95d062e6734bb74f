"""The verb that looks at claims between rounds of seeds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clce_bench.cli.experiment_commands import experiment_option
from clce_bench.cli.options import json_option

if TYPE_CHECKING:
    from clce_bench.analysis.rounds import Look


@click.command()
@experiment_option
@json_option
def rounds(path: Path, as_json: bool) -> None:
    """Say which cells the next run adds, and write that down. The exit status is 1 if another run must follow first.

    Looks at the claims of an experiment whose grids have seeds in rounds; waits for trials where settings are searched.

    Example: clce-bench rounds --experiment experiments/until-decided.yaml
    """
    from clce_bench.planning.plan import load_plan
    from clce_bench.planning.rounds_record import schedule_of, write_asked

    plan = load_plan(path)
    if schedule_of(plan.experiment) is None:
        raise SystemExit(int(plan.deciding))
    if plan.whole.deciding:
        raise SystemExit(1)
    from clce_bench.analysis.rounds import judge_in_rounds
    from clce_bench.analysis.summary import summary_table

    found = judge_in_rounds(plan.experiment, summary_table(plan.whole))
    looks = [asdict(look) for look in found.looks]
    write_asked(plan.experiment, found.asked, looks)
    if as_json:
        click.echo(json.dumps({"open": found.asked.open, "cells": sorted(found.asked.cells), "looks": looks}, indent=2))
    else:
        for look in found.looks:
            click.echo(_line(look))
        if found.asked.open:
            click.echo("The next run trains what is missing; then claims are looked at again.")
    raise SystemExit(int(found.asked.open))


def _line(look: "Look") -> str:
    known = look.effect is not None and look.low is not None and look.high is not None
    interval = f", {look.effect:+.2f} [{look.low:+.2f}, {look.high:+.2f}] points" if known else ""
    then = look.ends or f"{len(look.added)} cells more"
    return f"Look {look.look}, {look.seeds} seeds: {look.claim}: {look.verdict}{interval}: {then}."


COMMANDS = (rounds,)
