"""Verbs that look after ``results/``: tidy, check, and share it."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clce_bench.cli.experiment_commands import experiment_option
from clce_bench.cli.options import json_option


@click.command()
@click.option(
    "--experiment",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An experiment file whose results stay; may be repeated.  [default: config.yaml and all in experiments/]",
)
@click.option("--delete", is_flag=True, help="Remove what is listed.")
@json_option
def prune(paths: tuple[Path, ...], delete: bool, as_json: bool) -> None:
    """List what no experiment file asks for in results/; --delete removes it.

    Example: clce-bench prune --delete
    """
    from clce_bench.data.fetch import readable
    from clce_bench.results.pruning import default_experiments, leftovers, remove

    found = leftovers(paths or default_experiments())
    if delete:
        remove(found)
    if as_json:
        rows = [{**asdict(leftover), "path": str(leftover.path), "removed": delete} for leftover in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for leftover in found:
        click.echo(f"{leftover.path}  {readable(leftover.bytes)}  {leftover.why}")
    if not found:
        click.echo("Nothing: the experiments ask for all that is here.")
        return
    total = readable(sum(leftover.bytes for leftover in found))
    hint = "" if delete else "; clce-bench prune --delete removes them"
    click.echo(f"{len(found)} {'removed' if delete else 'found'}, {total}{hint}.")


@click.command()
@click.option(
    "--experiment",
    "path",
    type=click.Path(path_type=Path),
    help="Check only what this experiment file asks for; for --rerun, config.yaml when not given.",
)
@json_option
@click.option("--rerun", "count", default=0, help="Train this many finished cells again and compare.  [default: none]")
@click.option("--seed", default=0, show_default=True, help="Decides which cells --rerun draws.")
@click.option(
    "--tolerance",
    default=0.02,
    show_default=True,
    help="Allowed difference of accuracies where bits cannot be compared.",
)
@click.option("--threads", default=1, show_default=True, help="Cores to train on; another number rounds differently.")
def verify(path: Path | None, as_json: bool, count: int, seed: int, tolerance: float, threads: int) -> None:
    """Check all results against their checksums and name what is damaged. The exit status is 1 if anything is.

    Example: clce-bench verify --rerun 3
    """
    from clce_bench.planning.plan import load_plan
    from clce_bench.results.stored_records import all_records, records_of
    from clce_bench.results.verification import verify as check

    plan = load_plan(path or Path("config.yaml")) if path or count else None
    records = records_of(plan) if plan and path else list(all_records())
    findings = check(records)
    again: list[Any] = []
    if plan and count:
        import torch

        from clce_bench.planning.reruns import reruns_of
        from clce_bench.results.retraining import draw, rerun

        torch.set_num_threads(threads)
        reruns = reruns_of(plan)
        again = [rerun(reruns, cell, tolerance) for cell in draw(reruns, count, seed)]
    if as_json:
        rows = [{**asdict(finding), "damage": finding.is_damage} for finding in findings]
        click.echo(json.dumps({"records": len(records), "findings": rows, "rerun": list(map(asdict, again))}, indent=2))
    else:
        absent = [finding for finding in findings if finding.problem == "left out"]
        for finding in findings:
            if finding not in absent:
                click.echo(f"{finding.path}: {finding.problem}: {finding.detail}. {finding.advice}")
        if absent:
            click.echo(f"{len(absent)} imported cells without weights (left out): {absent[0].advice}")
        for one in again:
            details = "; ".join([*one.differences[:5], *one.causes])
            compared = "" if one.compared == "bits" else f" ({one.compared})"
            click.echo(f"{one.cell}: {one.verdict}{compared}{': ' if details else ''}{details}")
        if count > len(again):
            click.echo(f"Only {len(again)} finished cells can be trained again here.")
        damaged = sum(finding.is_damage for finding in findings)
        click.echo(f"{len(records)} records checked, {damaged} damaged files.")
    if any(finding.is_damage for finding in findings) or any(one.verdict == "differs" for one in again):
        raise SystemExit(1)


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@experiment_option
@click.option("--weights/--no-weights", default=True, show_default=True, help="Include each cell's model.safetensors.")
@json_option
def export(archive: Path, path: Path, weights: bool, as_json: bool) -> None:
    """Write the finished cells of an experiment to ARCHIVE, a .tar.gz, for another machine.

    Example: clce-bench export --no-weights --experiment experiments/clce.yaml clce.tar.gz
    """
    from clce_bench.data.fetch import readable
    from clce_bench.planning.plan import load_plan
    from clce_bench.results.archive_export import export_cells

    exported = export_cells(load_plan(path), archive, weights)
    if as_json:
        click.echo(json.dumps(asdict(exported), indent=2))
        return
    absent = "".join(f", {count} {state}" for state, count in exported.absent.items())
    hint = f" Not in it{absent[1:]}; clce-bench status says why." if absent else ""
    click.echo(f"{archive}: {exported.cells} cells, {readable(exported.bytes)}.{hint}")


@click.command("import")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--prefer", type=click.Choice(["archive", "here"]), help="Whose results to keep where both have a cell.")
@json_option
def import_(archive: Path, prefer: str | None, as_json: bool) -> None:
    """Add the cells of ARCHIVE, which export wrote, to those here. Nothing of yours is overwritten.

    Example: clce-bench import clce.tar.gz
    """
    from clce_bench.results.archive_import import import_cells

    merged = asdict(import_cells(archive, prefer))
    if as_json:
        click.echo(json.dumps(merged, indent=2))
        return
    counts = Counter({state: len(cells) for state, cells in merged.items() if cells})
    click.echo(f"{archive}: {', '.join(f'{count} cells {state}' for state, count in counts.items())}.")


COMMANDS = (prune, verify, export, import_)
