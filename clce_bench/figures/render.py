"""The ``figures`` stage: finds the figure by name, draws it, writes SVG and PNG."""

from pathlib import Path
from typing import Any

import pandas as pd

from clce_bench.errors import UserError
from clce_bench.evaluation.compare import grid_rows
from clce_bench.figures.style import use_style
from clce_bench.files import staged
from clce_bench.registry import load


def render(spec: dict[str, Any], summary: Path, output: Path) -> None:
    """Draws one figure.

    Args:
        spec: ``kind``, a module of this package, and ``grid``, whose cells it shows.
        summary: the ``summary.parquet``; ``history.parquet`` lies beside it.
        output: the .svg; the .png goes beside it.

    Raises:
        UserError: no cell of the grid has a result.
    """
    use_style()
    rows = grid_rows(pd.read_parquet(summary), spec["grid"])
    if rows.empty or not rows.filter(like="metric.").notna().any(axis=None):
        raise UserError(f"figures: {spec['kind']}: no cell of the grid {spec['grid']!r} has a result yet.")
    figure = load(f"clce_bench.figures.{spec['kind']}:draw")(
        rows, pd.read_parquet(summary.with_name("history.parquet"))
    )
    with staged(output.parent, last=output.name) as folder:
        figure.savefig(folder / output.with_suffix(".png").name)
        figure.savefig(folder / output.name, metadata={"Date": None})
