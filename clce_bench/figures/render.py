"""The ``figures`` stage: finds the figure by its kind, draws it, writes it with its data, caption and cells."""

import re
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from clce_bench.analysis.comparisons import grid_rows, hazards_in
from clce_bench.components.registry import load
from clce_bench.experiment.figure_options import Figure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import sentence_figure, use_style
from clce_bench.files import staged
from clce_bench.planning.figure_cells import matches


def render(job: dict[str, Any], output: Path) -> None:
    """Draws one figure.

    Beside the .svg go the .png, the .pdf, a .csv of what is drawn, a .txt with the caption (for Snakemake's report as
    .rst too) and a .cells.txt with the directories of the cells behind it.

    Args:
        job: ``spec``, the figure's options, and ``inputs``: ``summary`` (``history.parquet`` lies beside it) and, for
            kinds drawn from embeddings, ``dataset``, ``splits`` and ``embeddings_N``.
        output: the .svg.
    """
    use_style()
    options = Figure.model_validate(job["spec"])
    inputs = {name: Path(path) for name, path in job["inputs"].items()}
    summary = pd.read_parquet(inputs["summary"])
    rows = summary[summary["cell"].isin({cell for grid in options.grid for cell in grid_rows(summary, grid)["cell"]})]
    rows = rows[[matches(record, options.where) for record in rows.to_dict("records")]]
    history = pd.read_parquet(inputs["summary"].with_name("history.parquet"))
    source = Source(options, rows, history[history["cell"].isin(rows["cell"])], inputs)
    drawing = _with_hazards(_draw(source), rows)
    with staged(output.parent, last=output.name) as folder:
        stem = output.stem
        drawing.canvas.savefig(folder / f"{stem}.png")
        drawing.canvas.savefig(folder / f"{stem}.pdf", metadata={"CreationDate": None})
        drawing.canvas.savefig(folder / f"{stem}.svg", metadata={"Date": None})
        drawing.data.to_csv(folder / f"{stem}.csv", index=False)
        (folder / f"{stem}.txt").write_text(drawing.caption + "\n", encoding="utf-8")
        (folder / f"{stem}.rst").write_text(_as_rst(drawing.caption) + "\n", encoding="utf-8")
        (folder / f"{stem}.cells.txt").write_text("".join(f"{path}\n" for path in rows["directory"]))
    plt.close(drawing.canvas)


def _with_hazards(drawing: Drawing, rows: pd.DataFrame) -> Drawing:
    """Says in title and caption which rules the cells break on purpose, if any do."""
    names = hazards_in(rows)
    if not names:
        return drawing
    text = f"With hazards, on purpose: {names}"
    drawing.canvas.suptitle("\n".join(filter(None, [drawing.canvas.get_suptitle(), fill(text, 80)])))
    return drawing._replace(caption=f"{drawing.caption} {text}.")


def _as_rst(text: str) -> str:
    """Keeps text what it is in reStructuredText, as Snakemake's report wants its captions."""
    return re.sub(r"([\\`*_|<>:\[\]])", r"\\\1", text)


def _draw(source: Source) -> Drawing:
    grids = ", ".join(source.options.grid)
    if not source.rows.filter(like="metric.").notna().any(axis=None):
        return sentence_figure(f"No cell of {grids} has a result.")
    if source.options.metrics and not source.metrics:
        return sentence_figure(f"No cell of {grids} has {' or '.join(source.options.metrics)}.")
    drawing: Drawing = load(f"clce_bench.figures.{source.options.kind}:draw")(source)
    return drawing
