"""What is behind a number of the page: its cells, and the command that makes them again."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import NamedTuple, Self

import pandas as pd

from clce_bench.report.page_tables import Link


class Behind(NamedTuple):
    """What is behind a number.

    Attributes:
        links: to the directories of its cells.
        command: trains and evaluates these cells again, and no others.
    """

    links: list[Link]
    command: str


@dataclass(frozen=True)
class CellFiles:
    """The cells that a page can lead to.

    Attributes:
        directories: of cells by name.
        page: the page's folder, from which links start.
        experiment: the file that has these cells.
    """

    directories: dict[str, str]
    page: Path
    experiment: Path

    @classmethod
    def of(cls, summary: pd.DataFrame, page: Path, experiment: Path) -> Self:
        """Takes the directories from the summary."""
        return cls(dict(zip(summary["cell"], summary["directory"], strict=True)), page, experiment)

    def behind(self, cells: Collection[str]) -> Behind:
        """Says what is behind a number.

        Args:
            cells: names; those that the summary does not have are left out.
        """
        known = {cell: self.directories[cell] for cell in cells if cell in self.directories}
        links = [Link(cell, os.path.relpath(path, self.page)) for cell, path in known.items()]
        run = [".venv/bin/snakemake", "--configfile", os.path.relpath(self.experiment), "--forcerun", "train", "--"]
        return Behind(links, join([*run, *(f"{os.path.relpath(path)}/metrics.json" for path in known.values())]))


def told_cells(cells: Collection[str]) -> str:
    """Counts cells and names the first, for where there is no room to list them."""
    names = list(cells)
    if len(names) < 2:
        return f"cell {names[0]}" if names else ""
    return f"{len(names)} cells: {names[0]}, …"
