"""Which seeds rounds have asked for so far: ``rounds.json`` in an experiment's folder.

It says nothing that cells do not: ``clce-bench rounds`` makes it again from those that are finished.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.seed_rounds import SeedRounds
from clce_bench.files import digest, read_json, unordered, write_json
from clce_bench.planning.job import RESULTS


class Asked(NamedTuple):
    """What rounds have asked for.

    Attributes:
        cells: names of the cells beyond the first round.
        open: whether claims must be looked at again before all cells are known.
    """

    cells: frozenset[str] = frozenset()
    open: bool = True


def schedule_of(experiment: Experiment) -> SeedRounds | None:
    """Returns the rounds of an experiment, which all its grids that have any share; ``None`` without.

    Raises:
        UserError: two grids have different ones.
    """
    found = {grid.name: grid.seed for grid in experiment.grids if isinstance(grid.seed, SeedRounds)}
    schedules = list(found.values())
    for name, schedule in found.items():
        if schedule != schedules[0]:
            first = next(iter(found))
            why = "all grids with rounds share them, since one claim may compare several"
            raise UserError(
                f"grids: {name}: seed: {schedule} is not allowed. Allowed: {schedules[0]}, of {first}: {why}."
            )
    return schedules[0] if schedules else None


def rounds_path(experiment: Experiment) -> Path:
    """Says where the record lies."""
    return RESULTS / "experiments" / experiment.name / "rounds.json"


def read_asked(experiment: Experiment) -> Asked:
    """Reads what rounds have asked for; nothing yet where the file is not there or answers another question."""
    path = rounds_path(experiment)
    record = read_json(path) if path.exists() else {}
    if record.get("question") != _question(experiment):
        return Asked()
    return Asked(frozenset(record["cells"]), record["open"])


def write_asked(experiment: Experiment, asked: Asked, looks: Iterable[Mapping[str, Any]]) -> None:
    """Writes what rounds have asked for, and why.

    Args:
        experiment: the experiment.
        asked: what they have asked for.
        looks: what was seen at each look, and what was added for it.
    """
    record = {"question": _question(experiment), "open": asked.open, "cells": sorted(asked.cells)}
    write_json(rounds_path(experiment), {**record, "looks": [dict(look) for look in looks]})


def cells_so_far(experiment: Experiment, grids: dict[str, list[Cell]], asked: Asked) -> dict[str, list[Cell]]:
    """Keeps the cells of the first round, and those that later ones asked for.

    Args:
        experiment: has rounds.
        grids: all cells that it may ever have, by grid.
        asked: what was asked for.
    """
    first = {grid.name: grid.seed.first for grid in experiment.grids if isinstance(grid.seed, SeedRounds)}
    anyway = {cell.name for name, cells in grids.items() for cell in cells if name not in first}
    kept = anyway | asked.cells
    return {
        name: [cell for cell in cells if name not in first or cell.seed < first[name] or cell.name in kept]
        for name, cells in grids.items()
    }


def _question(experiment: Experiment) -> str:
    """Identifies what decides which cells there are and how claims are judged."""
    apart = {"runtime", "tracking", "description", "figures"}
    return digest(unordered(experiment.model_dump(by_alias=True, exclude=apart)))
