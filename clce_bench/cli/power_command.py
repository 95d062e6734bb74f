"""The verb that says what an experiment can show."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from clce_bench.cli.experiment_commands import experiment_option
from clce_bench.cli.options import json_option


@click.command()
@experiment_option
@click.option(
    "--difference",
    type=click.FloatRange(min=0, min_open=True),
    help="Points to be shown: say how many seeds or test images that takes.",
)
@json_option
def power(path: Path, difference: float | None, as_json: bool) -> None:
    """Estimate the smallest difference that each comparison of an experiment can show.

    It is found in four of five repetitions, at the level of the claim's verdict.

    Example: clce-bench power --difference 1.0
    """
    from rich.console import Console

    from clce_bench.analysis.power_report import visible_of
    from clce_bench.planning.plan import load_plan
    from clce_bench.report.terminal import TextTable

    found = visible_of(load_plan(path).whole, difference)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    columns = ["claim", "comparison", "level", "seeds", "units", "can show", "variances from"]
    columns += [f"for {difference:g} points"] if difference else []
    rows = []
    for one in found:
        row = [one.claim, one.setting, f"{one.alpha:.2g}", f"{one.seeds}", f"{one.units}"]
        row += ["three seeds are needed" if one.smallest is None else f"{one.smallest:.2f} points", one.source]
        if difference:
            row.append(_takes(one.seeds_needed, one.units_needed))
        rows.append(row)
    spare = ["variances from", "level", "seeds", "units"]
    prose = ["comparison", "can show", "variances from", columns[-1]]
    Console().print(TextTable(columns, rows, spare, prose, str(path)))


def _takes(seeds: int | None, units: int | None) -> str:
    if seeds is not None:
        return f"{seeds} seeds"
    more = "" if units is None else f"; with these seeds {units:,} of them would do"
    return f"no number of seeds: test images are the limit{more}"


COMMANDS = (power,)
