"""The jobs that an experiment has once: the choice among trials, tables, figures, report, tracking."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from clce_bench.components.registry import CLAIMS, figure_path
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.figure_options import Figure
from clce_bench.experiment.schema import Experiment
from clce_bench.files import digest, unordered
from clce_bench.planning.figure_cells import cells_of_figure, embedded_cells
from clce_bench.planning.job import RESULTS, Job, Node

Jobs = Mapping[Node, Job]


def choice_job(experiment: Experiment, trials: Mapping[str, list[Cell]], jobs: Jobs) -> Job:
    """Chooses settings among trials.

    Args:
        experiment: the experiment.
        trials: by grid.
        jobs: of the trials.
    """
    definitions = {
        name: [digest(jobs[Node("train", cell.key)].param) for cell in cells] for name, cells in trials.items()
    }
    inputs = {f"cell_{n}": str(cell.directory / "cell.json") for n, cell in enumerate(union(dict(trials)))}
    return Job("tune", definitions, inputs, output=_path(experiment, "tuning.json"))


def closing_jobs(
    experiment: Experiment, grids: dict[str, list[Cell]], jobs: Jobs, datasets: tuple[str, ...]
) -> dict[Node, Job]:
    """Lists the jobs that follow when all cells are measured.

    Args:
        experiment: the experiment.
        grids: cells by grid.
        jobs: of the cells.
        datasets: import paths of the data sets, which the page describes.
    """
    # How jobs run, what the page says and the order in the file change no number.
    settings = experiment.model_dump(by_alias=True, exclude={"runtime", "tracking"})
    words = {key: settings.pop(key) for key in ("description", "figures")}
    published = digest((files("clce_bench") / "data_files" / "published.yaml").read_text(encoding="utf-8"))
    tabled = [figure for figure in experiment.figures if figure.tabled]
    asked: dict[str, Any] = {"experiment": digest(unordered(settings)), "published": published}
    asked |= {"tables": [figure.model_dump() for figure in tabled]} if tabled else {}
    kinds = {CLAIMS[claim.kind] for claim in experiment.claims} | {figure_path(figure.kind) for figure in tabled}
    summary = Job("summarize", asked, {}, tuple(sorted(kinds)), output=_path(experiment, "summary.parquet"))
    figures = {figure.name: _figure(experiment, figure, grids, jobs, summary) for figure in experiment.figures}
    shown = {"experiment": digest(unordered({**settings, **words}))}
    drawn = {f"figure_{name}": figure.output for name, figure in figures.items()}
    page = Job("report", shown, {"summary": summary.output, **drawn}, datasets, output=_path(experiment, "report.html"))
    tracked = {**shown, "uri": experiment.tracking.uri}
    track = Job("track", tracked, {"page": page.output}, output=_path(experiment, "tracked.json"))
    once = {Node(job.verb, experiment.name): job for job in (summary, page, track)}
    return once | {Node("figures", name): figure for name, figure in figures.items()}


def _figure(experiment: Experiment, figure: Figure, grids: dict[str, list[Cell]], jobs: Jobs, summary: Job) -> Job:
    shown = cells_of_figure(figure, grids)
    inputs = {"summary": summary.output}
    if figure.from_embeddings:
        inputs |= _embeddings(jobs, embedded_cells(shown))
    spec = figure.completed(shown).model_dump()
    return Job(
        "figures", spec, inputs, (figure_path(figure.kind),), output=_path(experiment, f"figures/{figure.name}.svg")
    )


def _embeddings(jobs: Jobs, cells: list[Cell]) -> dict[str, str]:
    """Names the embeddings of cells of one data set, and the files that say what their rows are."""
    prepared = jobs[Node("train", cells[0].key)].inputs
    rows = {name: prepared[name] for name in ("dataset", "splits")}
    return rows | {f"embeddings_{n}": str(cell.directory / "embeddings.npz") for n, cell in enumerate(cells)}


def _path(experiment: Experiment, file: str) -> str:
    return str(RESULTS / "experiments" / experiment.name / file)
