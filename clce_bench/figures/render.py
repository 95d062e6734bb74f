"""The ``figures`` stage: finds the figure by name, draws it, writes SVG and PNG."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from clce_bench.evaluation.compare import grid_rows
from clce_bench.figures.style import empty_figure, use_style
from clce_bench.files import staged
from clce_bench.registry import load


def render(spec: dict[str, Any], summary: Path, output: Path) -> None:
    """Draws one figure.

    Args:
        spec: ``kind``, a module of this package, and ``grid``, whose cells it shows.
        summary: the ``summary.parquet``; ``history.parquet`` lies beside it.
        output: the .svg; the .png goes beside it.
    """
    use_style()
    rows = grid_rows(pd.read_parquet(summary), spec["grid"])
    if rows.filter(like="metric.").notna().any(axis=None):
        draw = load(f"clce_bench.figures.{spec['kind']}:draw")
        figure = draw(rows, pd.read_parquet(summary.with_name("history.parquet")))
    else:
        figure = empty_figure(f"No cell of the grid {spec['grid']!r} has a result.")
    with staged(output.parent, last=output.name) as folder:
        figure.savefig(folder / output.with_suffix(".png").name)
        figure.savefig(folder / output.name, metadata={"Date": None})
    plt.close(figure)
