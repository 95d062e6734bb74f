"""All jobs of an experiment: what each produces, from which files, by which code.

The Snakefile asks this module, and so do the verbs that say what would run. Paths start at the working directory.
"""

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from clce_bench.cell_checks import check_cell, weights_file
from clce_bench.cells import Cell, cells_of, dataset_directory, union
from clce_bench.config import Dataset, Experiment
from clce_bench.data.dataset import Dataset as DatasetSource
from clce_bench.figure_cells import axis_of, cells_of_figure, embedded_cells
from clce_bench.figure_options import EMBEDDINGS
from clce_bench.files import canonical_json, digest, read_json, write_if_changed, write_json
from clce_bench.provenance import fingerprint, now
from clce_bench.registry import dataset_path, load_dataset, loss_path
from clce_bench.trials import Choices, searched

RESULTS = Path("results")


@dataclass(frozen=True)
class Job:
    """One run of one verb.

    Attributes:
        verb: the stage.
        code: fingerprint of the code that decides the result.
        spec: what is asked for.
        inputs: paths by name.
    """

    verb: str
    code: str
    spec: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def param(self) -> str:
        """Everything that defines the result, as canonical JSON: the job's only parameter."""
        return canonical_json({"spec": self.spec, "inputs": self.inputs, "code": self.code})

    @property
    def identity(self) -> str:
        """A digest of :attr:`param`."""
        return digest(self.param, length=32)

    @property
    def stamp(self) -> str:
        """An empty file named after the code, whose age tells Snakemake whether a result is older than its code."""
        return str(RESULTS / "code" / f"{self.verb}-{self.code}")


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
    def targets(self) -> list[str]:
        """The files that a run is for."""
        names = ["tuning.json"] if self.deciding else ["report.html", "tracked.json"]
        return [str(self.folder / name) for name in names]

    @property
    def folder(self) -> Path:
        """Where the experiment's own results lie."""
        return RESULTS / "experiments" / self.experiment.name

    def prepare(self) -> None:
        """Writes the stamps of the code and the checked experiment, each only if it is not there yet."""
        for job in (job for jobs in self.jobs.values() for job in jobs.values()):
            write_if_changed(Path(job.stamp), "")
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
    jobs |= {"train": {}, "evaluate": {}, "tune": {}, "figures": {}}
    for cell in union(grids):
        check_cell(cell, load_dataset(cell.dataset))
    trials = {grid.name: grids[grid.name] for grid in searched(experiment)}
    choices = _add_search(jobs, experiment, trials) if trials else {}
    deciding = choices is None
    if trials:
        grids = trials if choices is None else cells_of(experiment, choices)
    cells = union(grids)
    _add_cells(jobs, experiment, union({name: members for name, members in grids.items() if name not in trials}))
    for figure in experiment.figures if not deciding else []:
        inputs = {"summary": str(RESULTS / "experiments" / experiment.name / "summary.parquet")}
        shown = cells_of_figure(figure, grids)
        if figure.kind in EMBEDDINGS:
            inputs |= _embeddings(jobs, embedded_cells(shown))
        spec = {**figure.model_dump(), "axis": axis_of(figure, shown)}
        code = fingerprint("figures", f"clce_bench.figures.{figure.kind}")
        jobs["figures"][figure.name] = Job("figures", code, spec, inputs)
    published = digest((files("clce_bench") / "data_files" / "published.yaml").read_text(encoding="utf-8"))
    for verb, spec in {"summarize": {"published": published}, "report": {}, "track": {}}.items():
        jobs[verb] = {experiment.name: Job(verb, fingerprint(verb), spec)}
    return Plan(experiment, grids, cells, jobs, deciding)


def _add_search(
    jobs: dict[str, dict[str, Job]], experiment: Experiment, trials: dict[str, list[Cell]]
) -> Choices | None:
    """Adds the trials and the choice among them; returns what it was, if it was among the trials as they are now."""
    _add_cells(jobs, experiment, union(trials))
    jobs["evaluate"].clear()  # A trial is never measured on the test part.
    keys = {name: [cell_key(cell) for cell in members] for name, members in trials.items()}
    spec = {name: [digest(jobs["train"][key].param) for key in members] for name, members in keys.items()}
    inputs = {f"cell_{n}": str(cell.directory / "cell.json") for n, cell in enumerate(union(trials))}
    tune = jobs["tune"][experiment.name] = Job("tune", fingerprint("tune"), spec, inputs)
    path = RESULTS / "experiments" / experiment.name / "tuning.json"
    found = read_json(path) if path.exists() else {}
    if found.get("identity") != tune.identity:
        return None
    return {
        grid: {loss: entry["settings"] for loss, entry in chosen.items()} for grid, chosen in found["choices"].items()
    }


def cell_key(cell: Cell) -> str:
    """Names a cell's ``train`` and ``evaluate`` jobs: its folder below ``results/cells``."""
    return str(cell.directory.relative_to(RESULTS / "cells"))


def status_of(cell: Cell, job: Job, evaluated: bool = True) -> tuple[str, str]:
    """Says what is known of a cell, from its own files.

    Args:
        cell: the cell.
        job: its ``train`` job as of now.
        evaluated: whether it is measured on the test part, which a trial is not.

    Returns:
        ``done``, ``diverged``, ``failed``, ``stale`` or ``missing``, and the reason in words (empty for ``done``).
    """
    path = cell.directory / "cell.json"
    if not path.exists():
        failure = cell.directory / "failure.txt"
        return ("failed", failure.read_text().strip()) if failure.exists() else ("missing", "never run")
    record = read_json(path)
    if canonical_json(record["job"]) != job.param:
        changed = [key for key in ("spec", "inputs", "code") if record["job"].get(key) != getattr(job, key)]
        return "stale", f"{' and '.join(changed)} changed since {record['started']}"
    if evaluated and record["status"] == "done" and evaluation_of(cell) is None:
        return "missing", "trained, not evaluated yet"
    return record["status"], record["reason"] or ""


def evaluation_of(cell: Cell) -> dict[str, Any] | None:
    """Reads a cell's ``metrics.json``; ``None`` unless it measured the files that the cell has now."""
    path = cell.directory / "metrics.json"
    if not path.exists():
        return None
    evaluation: dict[str, Any] = read_json(path)
    trained = read_json(cell.directory / "cell.json")["outputs_sha256"]
    return evaluation if evaluation["cell_sha256"] == trained else None


def _embeddings(jobs: dict[str, dict[str, Job]], cells: list[Cell]) -> dict[str, str]:
    """Names the embeddings of cells of one data set, and the files that say what their rows are."""
    prepared = jobs["train"][cell_key(cells[0])].inputs
    rows = {name: prepared[name] for name in ("dataset", "splits")}
    return rows | {f"embeddings_{n}": str(cell.directory / "embeddings.npz") for n, cell in enumerate(cells)}


def _add_cells(jobs: dict[str, dict[str, Job]], experiment: Experiment, cells: list[Cell]) -> None:
    sources: dict[str, DatasetSource] = {name: load_dataset(name) for name in {cell.dataset for cell in cells}}
    for cell in cells:
        _add_cell(jobs, cell, sources[cell.dataset], experiment.datasets.get(cell.dataset, Dataset()))


def _add_cell(jobs: dict[str, dict[str, Job]], cell: Cell, source: DatasetSource, prepared: Dataset) -> None:
    data_code = fingerprint("dataset", dataset_path(source.images))
    data_spec = {"dataset": source.images, "size": cell.size}
    data = f"{dataset_directory(source.images)}-{cell.size}px"
    if prepared.corrupt == "skip":
        data_spec["corrupt"], data = "skip", f"{data}-skip"
    if source.state:
        data_spec["state"] = source.state
    jobs["dataset"][data] = Job("dataset", data_code, data_spec)
    dataset_json = str(RESULTS / "data" / data / "dataset.json")

    # One split serves all folds; which of them validates is the cell's business.
    spec = cell.spec
    division = {key: value for key, value in spec["split"].items() if key != "fold"}
    split_spec = {"dataset": cell.dataset, "size": cell.size, "split": division}
    if "leaky-split" in cell.hazards:
        split_spec["hazards"] = ["leaky-split"]
    split = f"{dataset_directory(cell.dataset)}-{cell.size}px-{digest(split_spec)}"
    jobs["splits"][split] = Job("splits", fingerprint("splits"), split_spec, {"dataset": dataset_json})
    splits_json = str(RESULTS / "splits" / split / "splits.json")

    own = spec["backbone"]
    backbone_spec = {key: own[key] for key in ("name", "weights", "small_stem") if key in own}
    backbone = f"{cell.backbone.name}-{digest(backbone_spec)}"
    file = weights_file(cell.backbone.weights)
    weights = {"weights": str(file)} if file else {}
    jobs["backbone"][backbone] = Job("backbone", fingerprint("backbone"), backbone_spec, weights)
    backbone_json = str(RESULTS / "backbones" / backbone / "backbone.json")

    inputs = {"dataset": dataset_json, "splits": splits_json, "backbone": backbone_json}
    if cell.backbone.freeze != "none":
        features_spec = {"augmentation": cell.augmentation.model_dump(), "backbone": own}
        features = f"{split}/{cell.backbone.name}-{digest(features_spec)}"
        feature_inputs = {"dataset": dataset_json, "splits": splits_json, "backbone": backbone_json}
        jobs["features"][features] = Job("features", fingerprint("features"), features_spec, feature_inputs)
        inputs["features"] = str(RESULTS / "features" / features / "features.json")

    key = cell_key(cell)
    loss = [] if cell.weight == 0 else [loss_path(cell.loss["name"])]
    jobs["train"][key] = Job("train", fingerprint("train", *loss), spec, inputs)

    test_inputs = {"cell": str(cell.directory / "cell.json"), "dataset": dataset_json, "splits": splits_json}
    if source.task == "few-shot":
        episodes_spec = {**split_spec, "episodes": prepared.episodes.model_dump()}
        episodes = f"{dataset_directory(cell.dataset)}-{cell.size}px-{digest(episodes_spec)}"
        episode_inputs = {"dataset": dataset_json, "splits": splits_json}
        jobs["episodes"][episodes] = Job("episodes", fingerprint("episodes"), episodes_spec, episode_inputs)
        test_inputs["episodes"] = str(RESULTS / "episodes" / episodes / "episodes.json")
    jobs["evaluate"][key] = Job("evaluate", fingerprint("evaluate"), {}, test_inputs)
