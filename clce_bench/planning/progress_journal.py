"""What a cell that trains says of its progress, in a file that others read while it runs."""

import json
import time
from pathlib import Path
from typing import Any

from clce_bench.experiment.cells import Cell

JOURNAL = Path("checkpoints/progress.jsonl")
"""What training writes below a cell's folder."""
SILENT = 180.0
"""Seconds without a line after which a cell no longer counts as running."""


def journal_of(cell: Cell) -> list[dict[str, Any]]:
    """Reads the lines that a cell has written so far; none if it is silent.

    Args:
        cell: any.

    Returns:
        ``time``, ``step``, ``steps``, ``loss``, ``seconds_left``; at the end of an epoch also ``epoch``, ``epochs``,
        ``validation``.
    """
    path = cell.directory / JOURNAL
    try:
        if time.time() - path.stat().st_mtime > SILENT:
            return []
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
