"""All jobs of an experiment: what each produces, from which files, by which code.

The Snakefile asks this module, and so do the verbs that say what would run. Paths start at the working directory.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from clce_bench.components.registry import CLAIMS, dataset_path, load_dataset, loss_path
from clce_bench.data.dataset import Dataset
from clce_bench.experiment.cells import Cell, cells_of, dataset_directory, union
from clce_bench.experiment.figure_options import EMBEDDINGS
from clce_bench.experiment.schema import ROLES, DatasetOptions, Experiment
from clce_bench.experiment.search_trials import Choices, searched
from clce_bench.files import canonical_json, digest, read_json, unordered, write_if_changed, write_json
from clce_bench.planning.cell_checks import check_cell, weights_file
from clce_bench.planning.figure_cells import axis_of, cells_of_figure, embedded_cells
from clce_bench.planning.job import OUTPUTS, RESULTS, Job
from clce_bench.records.environment import now
from clce_bench.records.fingerprints import outlines
from clce_bench.records.job_records import code_file, read_record, record_path

__all__ = ["RESULTS", "Job", "Plan", "cell_key", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """An experiment with its cells and its jobs.

    Attributes:
        experiment: the checked experiment.
        grids: cells by grid.
        cells: all cells, each once.
        jobs: by verb, then by the directory of the result below the stage's own (for figures, the figure's name).
        deciding: whether trials must first decide the settings of other cells; there are only the trials then.
    """

    experiment: Experiment
    grids: dict[str, list[Cell]]
    cells: list[Cell]
    jobs: dict[str, dict[str, Job]]
    deciding: bool = False

    @property
    def folder(self) -> Path:
        """Where the experiment's own results lie."""
        return RESULTS / "experiments" / self.experiment.name

    @property
    def targets(self) -> list[str]:
        """The files that a run is for."""
        return [job.output for verb in ("tune", "report", "track") for job in self.jobs[verb].values()]

    def prepare(self) -> None:
        """Writes what the code consists of, for later questions, and the checked experiment, unless they are there."""
        for job in {job.code: job for jobs in self.jobs.values() for job in jobs.values()}.values():
            path = code_file(job.verb, job.code)
            if not path.exists():
                write_json(path, outlines(job.verb, *job.components))
        write_if_changed(self.folder / "experiment.json", canonical_json(self.experiment.model_dump(by_alias=True)))

    def mark_start(self, cores: int) -> None:
        """Notes that a run begins, from which the report derives what it took."""
        path = self.folder / "run.json"
        cost = read_json(path).get("cost") if path.exists() else None
        write_json(path, {"started": now(), "cores": cores, "cost": cost})


def plan_of(experiment: Experiment) -> Plan:
    """Works out all jobs.

    Raises:
        UserError: a cell asks for more images per batch than its data set has for training.
    """
    grids = cells_of(experiment)
    jobs: dict[str, dict[str, Job]] = {verb: {} for verb in ("dataset", "splits", "episodes", "backbone", "features")}
    jobs |= {"train": {}, "tune": {}, "evaluate": {}, "summarize": {}, "figures": {}, "report": {}, "track": {}}
    _check_cells(union(grids))
    trials = {grid.name: grids[grid.name] for grid in searched(experiment)}
    choices = _add_search(jobs, experiment, trials) if trials else {}
    if choices is None:
        return Plan(experiment, trials, union(trials), jobs, deciding=True)
    if trials:
        grids = cells_of(experiment, choices)
    sources = _add_cells(jobs, experiment, union({name: grids[name] for name in grids if name not in trials}))
    _add_own_jobs(jobs, experiment, grids, tuple(sorted(dataset_path(source.images) for source in sources.values())))
    return Plan(experiment, grids, union(grids), jobs)


def _check_cells(cells: list[Cell]) -> None:
    sources: dict[str, Dataset] = {name: load_dataset(name) for name in {cell.dataset for cell in cells}}
    for cell in cells:
        check_cell(cell, sources[cell.dataset])


def _add_search(
    jobs: dict[str, dict[str, Job]], experiment: Experiment, trials: dict[str, list[Cell]]
) -> Choices | None:
    """Adds the trials and the choice among them; returns what it was, if it was among the trials as they are now."""
    _add_cells(jobs, experiment, union(trials))
    jobs["evaluate"].clear()  # A trial is never measured on the test part.
    keys = {name: [cell_key(cell) for cell in members] for name, members in trials.items()}
    spec = {name: [digest(jobs["train"][key].param) for key in members] for name, members in keys.items()}
    inputs = {f"cell_{n}": str(cell.directory / "cell.json") for n, cell in enumerate(union(trials))}
    output = RESULTS / OUTPUTS["tune"].format(key=experiment.name)
    tune = jobs["tune"][experiment.name] = Job("tune", spec, inputs, output=str(output))
    record = read_record(record_path(output))
    if not record or record["job"] != tune.definition or not output.exists():
        return None
    choices = read_json(output).items()
    return {grid: {loss: entry["settings"] for loss, entry in chosen.items()} for grid, chosen in choices}


def _add_own_jobs(
    jobs: dict[str, dict[str, Job]], experiment: Experiment, grids: dict[str, list[Cell]], datasets: tuple[str, ...]
) -> None:
    """Adds what is made once per experiment, from all its cells."""

    def add(verb: str, spec: dict[str, Any], inputs: dict[str, str], components: tuple[str, ...] = ()) -> str:
        key = spec["name"] if verb == "figures" else experiment.name
        output = str(RESULTS / OUTPUTS[verb].format(key=key, experiment=experiment.name))
        jobs[verb][key] = Job(verb, spec, inputs, components, output=output)
        return output

    # How jobs run, what the page says and the order in the file change no number.
    settings = experiment.model_dump(by_alias=True, exclude={"runtime", "tracking"})
    words = {key: settings.pop(key) for key in ("description", "figures")}
    published = digest((files("clce_bench") / "data_files" / "published.yaml").read_text(encoding="utf-8"))
    kinds = tuple(sorted({CLAIMS[claim.kind] for claim in experiment.claims}))
    summary = add("summarize", {"experiment": digest(unordered(settings)), "published": published}, {}, kinds)
    drawn = {}
    for figure in experiment.figures:
        inputs = {"summary": summary}
        shown = cells_of_figure(figure, grids)
        if figure.kind in EMBEDDINGS:
            inputs |= _embeddings(jobs, embedded_cells(shown))
        spec = {**figure.model_dump(), "axis": axis_of(figure, shown)}
        drawn[f"figure_{figure.name}"] = add("figures", spec, inputs, (f"clce_bench.figures.{figure.kind}",))
    page_spec = {"experiment": digest(unordered({**settings, **words}))}
    page = add("report", page_spec, {"summary": summary, **drawn}, datasets)
    add("track", {**page_spec, "uri": experiment.tracking.uri}, {"page": page})


def cell_key(cell: Cell) -> str:
    """Names a cell's ``train`` and ``evaluate`` jobs: its folder below ``results/cells``."""
    return str(cell.directory.relative_to(RESULTS / "cells"))


def _embeddings(jobs: dict[str, dict[str, Job]], cells: list[Cell]) -> dict[str, str]:
    """Names the embeddings of cells of one data set, and the files that say what their rows are."""
    prepared = jobs["train"][cell_key(cells[0])].inputs
    rows = {name: prepared[name] for name in ("dataset", "splits")}
    return rows | {f"embeddings_{n}": str(cell.directory / "embeddings.npz") for n, cell in enumerate(cells)}


def _add_cells(jobs: dict[str, dict[str, Job]], experiment: Experiment, cells: list[Cell]) -> dict[str, Dataset]:
    """Adds the jobs of cells; returns their data sets."""
    sources: dict[str, Dataset] = {name: load_dataset(name) for name in {cell.dataset for cell in cells}}
    for cell in cells:
        _add_cell(jobs, cell, sources[cell.dataset], experiment.datasets.get(cell.dataset, DatasetOptions()))
    return sources


def _add_cell(jobs: dict[str, dict[str, Job]], cell: Cell, source: Dataset, prepared: DatasetOptions) -> None:
    made: dict[str, str] = {}
    codes: dict[str, str] = {}

    def add(
        verb: str, key: str, spec: dict[str, Any], inputs: dict[str, str], components: tuple[str, ...] = ()
    ) -> None:
        upstream = {name: codes[name] for name in inputs if name in codes}
        upstream |= {"images": codes["images"]} if "images" in codes and "dataset" in inputs else {}
        output = str(RESULTS / OUTPUTS[verb].format(key=key))
        job = jobs[verb].setdefault(key, Job(verb, spec, inputs, components, upstream, output))
        made[verb], codes[verb] = output, job.code

    def inputs(*verbs: str) -> dict[str, str]:
        return {verb: made[verb] for verb in verbs if verb in made}

    images = dataset_path(source.images)
    data = f"{dataset_directory(source.images)}-{cell.size}px"
    data_spec = {"dataset": source.images, "size": cell.size}
    if prepared.corrupt == "skip":
        data_spec["corrupt"], data = "skip", f"{data}-skip"
    if source.state:
        data_spec["state"] = codes["images"] = source.state
    add("dataset", data, data_spec, {}, (images,))

    # One split serves all folds and test parts; which of them validates and tests is the cell's business.
    spec = cell.spec
    division = {key: value for key, value in spec["split"].items() if key not in ROLES}
    split_spec = {"dataset": cell.dataset, "size": cell.size, "split": division}
    if "leaky-split" in cell.hazards:
        split_spec["hazards"] = ["leaky-split"]
    split = f"{dataset_directory(cell.dataset)}-{cell.size}px-{digest(split_spec)}"
    add("splits", split, split_spec, inputs("dataset"), (dataset_path(cell.dataset),))

    novel = {key: spec["split"][key] for key in ("class_fold",) if key in spec["split"]}

    own = spec["backbone"]
    backbone_spec = {key: own[key] for key in ("name", "weights", "small_stem") if key in own}
    file = weights_file(cell.backbone.weights)
    weights = {"weights": str(file)} if file else {}
    add("backbone", f"{cell.backbone.name}-{digest(backbone_spec)}", backbone_spec, weights)

    if cell.backbone.freeze != "none":
        features_spec = {"augmentation": spec["augmentation"], "backbone": own}
        features_spec |= {"support": spec["support"], **novel} if cell.support else {}
        features = f"{split}/{cell.backbone.name}-{digest(features_spec)}"
        add("features", features, features_spec, inputs("dataset", "splits", "backbone"))

    key = cell_key(cell)
    loss = () if cell.contrastive_weight == 0 else (loss_path(cell.loss.name),)
    add("train", key, spec, inputs("dataset", "splits", "backbone", "features"), loss)

    if source.task == "few-shot":
        episodes_spec = {**split_spec, **novel, "episodes": prepared.episodes.model_dump()}
        episodes = f"{dataset_directory(cell.dataset)}-{cell.size}px-{digest(episodes_spec)}"
        add("episodes", episodes, episodes_spec, inputs("dataset", "splits"))
    add("evaluate", key, {}, {"cell": made["train"], **inputs("dataset", "splits", "episodes")})
