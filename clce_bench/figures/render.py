"""The ``figures`` stage: finds the figure by its kind, draws it, writes it with its data, caption and cells."""

import re
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from clce_bench.analysis.summary_rows import figure_rows, hazards_in
from clce_bench.experiment.figure_options import Figure, figure_of
from clce_bench.figures.narrow import make_narrow
from clce_bench.figures.scripts import make_readable
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import sentence_figure, use_style
from clce_bench.files import staged


def render(job: dict[str, Any], output: Path) -> None:
    """Draws one figure.

    Beside the .svg go the .png, the .pdf, a .narrow.svg for phones, a .csv of what is drawn, a .txt with the caption
    (for Snakemake's report as .rst too) and a .cells.txt with the directories of the cells behind it.

    Args:
        job: ``spec``, the figure's options, and ``inputs``: ``summary`` (``history.parquet`` is beside it) and, for
            kinds drawn from embeddings, ``dataset``, ``splits`` and ``embeddings_N``.
        output: the .svg.
    """
    use_style()
    figure = figure_of(job["spec"])
    inputs = {name: Path(path) for name, path in job["inputs"].items()}
    rows = figure_rows(figure, pd.read_parquet(inputs["summary"]))
    history = pd.read_parquet(inputs["summary"].with_name("history.parquet"))
    source = Source(rows, history[history["cell"].isin(rows["cell"])], inputs)
    drawing = _with_hazards(_draw(figure, source), rows)
    make_readable(drawing.canvas)
    with staged(output.parent, last=output.name) as folder:
        stem = output.stem
        drawing.canvas.savefig(folder / f"{stem}.png")
        drawing.canvas.savefig(folder / f"{stem}.pdf", metadata={"CreationDate": None})
        drawing.canvas.savefig(folder / f"{stem}.svg", metadata={"Date": None})
        drawing.data.to_csv(folder / f"{stem}.csv", index=False)
        (folder / f"{stem}.txt").write_text(drawing.caption + "\n", encoding="utf-8")
        (folder / f"{stem}.rst").write_text(_as_rst(drawing.caption) + "\n", encoding="utf-8")
        (folder / f"{stem}.cells.txt").write_text("".join(f"{path}\n" for path in rows["directory"]))
        make_narrow(drawing.canvas)
        drawing.canvas.savefig(folder / f"{stem}.narrow.svg", metadata={"Date": None})
    plt.close(drawing.canvas)


def _with_hazards(drawing: Drawing, rows: pd.DataFrame) -> Drawing:
    """Says in title and caption which rules the cells break on purpose, if any do."""
    names = hazards_in(rows["hazards"])
    if not names:
        return drawing
    text = f"With hazards, on purpose: {names}"
    drawing.canvas.suptitle("\n".join(filter(None, [drawing.canvas.get_suptitle(), fill(text, 80)])))
    return drawing._replace(caption=f"{drawing.caption} {text}.")


def _as_rst(text: str) -> str:
    """Keeps text what it is in reStructuredText, as Snakemake's report wants its captions."""
    return re.sub(r"([\\`*_|<>:\[\]])", r"\\\1", text)


def _draw(figure: Figure, source: Source) -> Drawing:
    grids = ", ".join(figure.grid)
    if not (figure.from_training or source.rows.filter(like="metric.").notna().any(axis=None)):
        return sentence_figure(f"No cell of {grids} has a result.")
    if isinstance(figure, MetricFigure) and figure.metrics and not figure.columns(source.rows):
        return sentence_figure(f"No cell of {grids} has {' or '.join(figure.metrics)}.")
    drawing: Drawing = figure.draw(source)
    return drawing
