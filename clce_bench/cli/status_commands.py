"""Verbs that say what is out of date and why, and the one that settles it by the user's word."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clce_bench.cli.experiment_commands import experiment_option
from clce_bench.cli.options import json_option
from clce_bench.errors import UserError, unknown

if TYPE_CHECKING:
    from clce_bench.experiment.cells import Cell
    from clce_bench.planning.reruns import Reruns


@click.command()
@experiment_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """List the cells that are not done, with the reason and the time that each will take.

    Example: clce-bench status
    """
    from rich.console import Console

    from clce_bench.cli.plan_output import counts_of, duration, print_text
    from clce_bench.costs.throughput import seconds_to_redo
    from clce_bench.planning.cell_status import states_of
    from clce_bench.report.terminal import TextTable

    reruns = _reruns(path)
    states, seconds = states_of(reruns), seconds_to_redo(reruns)
    cells = reruns.plan.cells
    if as_json:
        rows = [
            {"cell": cell.name, **states[cell.name]._asdict(), "seconds": seconds[cell.name], "spec": cell.spec}
            for cell in cells
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    print_text(f"{path}: {len(cells)} cells: {counts_of(states)}.")
    open_cells = []
    for cell in cells:
        if states[cell.name].status != "done":
            takes = seconds[cell.name]
            cost = "unknown" if takes is None else duration(takes / 3600)
            open_cells.append((cell.name, cell.dataset, *states[cell.name][:2], cost))
    if open_cells:
        columns = ("cell", "data set", "status", "reason", "to redo")
        Console().print(TextTable(columns, open_cells, ["data set", "to redo"], ["reason"], "Cells that are not done"))
    notes = [state.note for state in states.values()]
    notes += [f"accepted: {state.accepted}" for state in states.values() if state.accepted]
    for note, count in Counter(filter(None, notes)).items():
        print_text(f"{count} of these: {note}")


@click.command()
@click.argument("cell")
@experiment_option
@json_option
def why(cell: str, path: Path, as_json: bool) -> None:
    """Explain why a cell runs again: all differences to what was run. CELL: name, start of a name, or path.

    Example, with a name that clce-bench status shows: clce-bench why clce_bs64_lam0.9_s0-0f3a91c2
    """
    from clce_bench.planning.explanation import explain, lines

    reruns = _reruns(path)
    found = explain(reruns, find_cell(reruns, cell))
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


@click.command()
@click.argument("cells", nargs=-1)
@experiment_option
@click.option("--reason", required=True, help="Why the change of code alters no result.")
@click.option("--all-stale", is_flag=True, help="Accept all stale cells of the experiment in which only code differs.")
def accept(cells: tuple[str, ...], path: Path, reason: str, all_stale: bool) -> None:
    """Declare that a change of code alters no result of CELLS. They then count as done, and the report says so.

    Example: clce-bench accept --all-stale --reason "only renames a variable"
    """
    from clce_bench.planning import acceptance
    from clce_bench.planning.cell_status import states_of

    if not reason.strip():
        raise UserError("--reason: empty is not allowed: say why the results are the same.")
    if bool(cells) == all_stale:
        raise click.UsageError("Name cells, or give --all-stale.")
    reruns = _reruns(path)
    if all_stale:
        states = states_of(reruns)
        chosen = [cell for cell in reruns.plan.cells if states[cell.name].status == "stale"]
        chosen = [cell for cell in chosen if acceptance.only_code(reruns, cell)]
    else:
        chosen = [find_cell(reruns, text) for text in cells]
    for changed in acceptance.accept(reruns, chosen, reason):
        click.echo(f"accepted: {changed}")
    click.echo(f"{len(chosen)} cells accepted")


def find_cell(reruns: "Reruns", text: str) -> "Cell":
    """Finds a cell by its name, by the start of its name if there is no other such, or by the path of its folder.

    Raises:
        UserError: there is no such cell, or there are several.
    """
    names = {cell.name: cell for cell in reruns.plan.cells}
    name = Path(text).parent.name if text.endswith("cell.json") else Path(text).name
    matches = [name] if name in names else [known for known in names if known.startswith(name)]
    if len(matches) == 1:
        return names[matches[0]]
    if matches:
        listing = ", ".join(matches[:5]) + ", …" * (len(matches) > 5)
        raise UserError(f"{text}: {len(matches)} cells begin so: {listing}. Give more of the name.")
    raise UserError(unknown("a cell of this experiment", name, names, "clce-bench plan --cells lists the cells"))


def _reruns(path: Path) -> Any:
    from clce_bench.planning.plan import load_plan
    from clce_bench.planning.reruns import reruns_of

    return reruns_of(load_plan(path))


@click.command()
@experiment_option
@json_option
@click.option("--once", is_flag=True, help="Show it once and exit.")
@click.option(
    "--every", default=5.0, show_default=True, type=click.FloatRange(min=0.5), help="Seconds between updates."
)
def watch(path: Path, as_json: bool, once: bool, every: float) -> None:
    """Show the progress of a run until it ends: what trains, how far it is, how long it takes.

    It reads files only, so it works beside a run, and on a cluster from any machine that sees them.

    Example: clce-bench watch --experiment experiments/clce.yaml
    """
    import time

    from rich.console import Console
    from rich.live import Live

    from clce_bench.report.watching import screen, standing_of

    if as_json:
        click.echo(json.dumps(standing_of(_reruns(path))._asdict(), indent=2))
        return
    standing, console = standing_of(_reruns(path)), Console()
    if once:
        console.print(screen(standing))
        return
    with Live(screen(standing), console=console, auto_refresh=False) as live:
        while standing.cells["running"] + standing.cells["waiting"]:
            time.sleep(every)
            standing = standing_of(_reruns(path))
            live.update(screen(standing), refresh=True)


COMMANDS = (watch, status, why, accept)
