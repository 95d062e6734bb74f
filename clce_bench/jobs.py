"""All jobs of an experiment: what each produces, from which files, by which code.

The Snakefile asks this module, and so do the verbs that say what would run. Paths start at the working directory.
"""

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from clce_bench.cells import Cell, cells_of, dataset_directory, union
from clce_bench.config import Dataset, Experiment
from clce_bench.data.dataset import Dataset as DatasetSource
from clce_bench.errors import UserError
from clce_bench.figure_cells import axis_of, cells_of_figure, embedded_cells
from clce_bench.figure_options import EMBEDDINGS
from clce_bench.files import canonical_json, digest, read_json, write_if_changed, write_json
from clce_bench.provenance import fingerprint, now
from clce_bench.registry import check_packaged, dataset_path, load_dataset, loss_path

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
    """

    experiment: Experiment
    grids: dict[str, list[Cell]]
    cells: list[Cell]
    jobs: dict[str, dict[str, Job]]

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
    jobs |= {"train": {}, "evaluate": {}, "figures": {}}
    cells = union(grids)
    sources: dict[str, DatasetSource] = {name: load_dataset(name) for name in {cell.dataset for cell in cells}}
    for cell in cells:
        _check(cell, sources[cell.dataset])
        _add_cell(jobs, cell, sources[cell.dataset], experiment.datasets.get(cell.dataset, Dataset()))
    for figure in experiment.figures:
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
    return Plan(experiment, grids, cells, jobs)


def cell_key(cell: Cell) -> str:
    """Names a cell's ``train`` and ``evaluate`` jobs: its folder below ``results/cells``."""
    return str(cell.directory.relative_to(RESULTS / "cells"))


def status_of(cell: Cell, job: Job) -> tuple[str, str]:
    """Says what is known of a cell, from its own files.

    Args:
        cell: the cell.
        job: its ``train`` job as of now.

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
    if record["status"] == "done" and evaluation_of(cell) is None:
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


def weights_file(weights: str) -> Path | None:
    """Returns the file that ``backbone.weights`` names, if it names one."""
    return None if weights in ("timm", "random") or weights.startswith("package:") else Path(weights)


def _check(cell: Cell, source: DatasetSource) -> None:
    if cell.batch_size > source.train_images and cell.split == Dataset().split:
        allowed = f"Allowed: at most {source.train_images}, the training images of {cell.dataset}"
        raise UserError(f"grids: batch_size: {cell.batch_size} is not allowed. {allowed}.")
    check_packaged(cell.backbone.name, cell.backbone.weights)
    file = weights_file(cell.backbone.weights)
    if file and not file.is_file():
        allowed = "Allowed: 'package:NAME', a .safetensors or .pth file, 'timm' or 'random'"
        raise UserError(f"backbone.weights: {file}: there is no such file. {allowed}.")
    for key, unused in (("drop_path", 0.0), ("layer_decay", 1.0)):
        if cell.backbone.freeze != "none" and (value := getattr(cell.recipe, key)) != unused:
            reason = f"the backbone is frozen up to {cell.backbone.freeze!r}"
            raise UserError(f"recipe.{key}: {value:g} is not allowed: {reason}. Allowed: {unused:g}.")
    for key in ("mixup", "cutmix"):
        if (value := getattr(cell.recipe, key)) and (cell.weight > 0 or cell.backbone.freeze != "none"):
            reason = "mixed images have no one class, and stored features cannot be mixed"
            raise UserError(
                f"recipe.{key}: {value:g} is not allowed at λ = {cell.weight:g} with backbone.freeze:"
                f" {cell.backbone.freeze}: {reason}. Allowed: λ = 0 with freeze: none."
            )
    if cell.recipe.views < 2 and cell.self_supervised:
        why = f"the positives of {cell.loss_name} are other views of an image"
        raise UserError(f"recipe.views: {cell.recipe.views} is not allowed: {why}. Allowed: at least 2.")
    if cell.recipe.views > cell.backbone.cached_views and cell.backbone.freeze != "none":
        allowed = f"Allowed: at most backbone.cached_views, {cell.backbone.cached_views}"
        raise UserError(f"recipe.views: {cell.recipe.views} is not allowed. {allowed}.")


def _embeddings(jobs: dict[str, dict[str, Job]], cells: list[Cell]) -> dict[str, str]:
    """Names the embeddings of cells of one data set, and the files that say what their rows are."""
    prepared = jobs["train"][cell_key(cells[0])].inputs
    rows = {name: prepared[name] for name in ("dataset", "splits")}
    return rows | {f"embeddings_{n}": str(cell.directory / "embeddings.npz") for n, cell in enumerate(cells)}


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
