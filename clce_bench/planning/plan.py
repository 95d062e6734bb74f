"""All jobs of an experiment: what each produces, from which files, by which code, and which reads which.

The Snakefile asks this module, and so do the verbs that say what would run. Paths start at the working directory.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from clce_bench.components.registry import dataset_path, load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.data.sources.grouped import check_groups
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import load_experiment
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.search_trials import Choices, searched
from clce_bench.files import canonical_json, read_json, write_if_changed, write_json
from clce_bench.planning.cell_checks import check_cell, check_runtime
from clce_bench.planning.experiment_jobs import choice_job, closing_jobs
from clce_bench.planning.job import RESULTS, Job, Node
from clce_bench.planning.measure_jobs import measure_jobs
from clce_bench.planning.rounds_record import cells_so_far, read_asked, schedule_of
from clce_bench.planning.stages import STAGE_ORDER, Subject, jobs_of_cell
from clce_bench.records.environment import now
from clce_bench.records.fingerprints import outlines
from clce_bench.records.job_records import code_file, read_outlines, read_record, record_path

OWNER = "experiment-file.txt"
"""Beside an experiment's own results, the name of its file."""

__all__ = ["RESULTS", "Job", "Plan", "load_plan", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """An experiment with its cells and its jobs.

    Attributes:
        experiment: the checked experiment.
        grids: cells by grid.
        cells: all cells, each once.
        jobs: by verb, then by the directory of the result below the stage's own (for figures, the figure's name).
        deciding: whether it must first be decided which other cells there are, by trials or by rounds of seeds; there
            are only the trials then, or the cells so far, and nothing that follows from them.
        file: the experiment file, where it is known.
    """

    experiment: Experiment
    grids: dict[str, list[Cell]]
    cells: list[Cell]
    jobs: dict[str, dict[str, Job]]
    deciding: bool = False
    file: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the experiment's own results lie."""
        return RESULTS / "experiments" / self.experiment.name

    @property
    def targets(self) -> list[str]:
        """The files that a run is for."""
        last = ("tune", "evaluate", "measure") if self.deciding else ("tune", "report", "track")
        return [job.output for verb in last for job in self.jobs[verb].values()]

    @cached_property
    def nodes(self) -> list[Node]:
        """All jobs, those first that others depend on."""
        return [Node(verb, key) for verb in STAGE_ORDER for key in self.jobs[verb]]

    @cached_property
    def makers(self) -> dict[str, Node]:
        """By path, the job that makes it."""
        made = {self.job(node).output: node for node in self.nodes}
        embeddings = {str(Path(path).with_name("embeddings.npz")): node for path, node in made.items()}
        return {path: node for path, node in embeddings.items() if node.verb == "train"} | made

    @cached_property
    def readers(self) -> dict[Node, list[Node]]:
        """By job, those that read what it makes."""
        found: dict[Node, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for needed in self.needs(node):
                found[needed].append(node)
        return found

    @cached_property
    def _measures(self) -> dict[str, list[str]]:
        """By the key of a cell, those of its measures."""
        found: dict[str, list[str]] = defaultdict(list)
        for key in self.jobs["measure"]:
            found[key.rpartition("/")[0]].append(key)
        return found

    @cached_property
    def whole(self) -> "Plan":
        """The plan with the cells of all rounds of seeds that there may be: itself, without rounds."""
        return plan_of(self.experiment, whole=True) if schedule_of(self.experiment) else self

    def job(self, node: Node) -> Job:
        """Returns the job at a place."""
        return self.jobs[node.verb][node.key]

    def needs(self, node: Node) -> list[Node]:
        """Lists the jobs whose results a job reads."""
        if node.verb == "summarize":
            return [Node(verb, key) for verb in ("tune", "evaluate", "measure") for key in self.jobs[verb]]
        return [self.makers[path] for path in self.job(node).inputs.values() if path in self.makers]

    def nodes_of(self, cell: Cell) -> list[Node]:
        """Lists a cell's own jobs: its training and, unless it is only a trial, its evaluation and further measures."""
        key = cell.key
        own = [Node(verb, key) for verb in ("train", "evaluate") if key in self.jobs[verb]]
        return own + [Node("measure", one) for one in self._measures.get(key, [])]

    def measures_of(self, cell: Cell) -> list[Path]:
        """Lists the files in which further measures of a cell are."""
        return [Path(self.job(node).output) for node in self.nodes_of(cell) if node.verb == "measure"]

    def prepare(self) -> None:
        """Writes what the code consists of, for later questions, and the checked experiment, unless they are there."""
        for job in {job.code: job for jobs in self.jobs.values() for job in jobs.values()}.values():
            if read_outlines(job.verb, job.code) is None:
                write_json(code_file(job.verb, job.code), outlines(job.verb, *job.components))
        if self.file and self.file.parent != self.folder:
            write_if_changed(self.folder / OWNER, f"{self.file}\n")
        write_if_changed(self.folder / "experiment.json", canonical_json(self.experiment.model_dump(by_alias=True)))

    def mark_start(self, cores: int) -> None:
        """Notes that a run begins, from which the report derives what it took."""
        path = self.folder / "run.json"
        cost = read_json(path).get("cost") if path.exists() else None
        write_json(path, {"started": now(), "cores": cores, "cost": cost})


def load_plan(path: Path) -> Plan:
    """Reads an experiment file and works out all jobs.

    Raises:
        UserError: it breaks a rule, or another file's experiment has its name; every message starts with the file.
    """
    experiment = load_experiment(path)
    try:
        plan = replace(plan_of(experiment), file=_from_here(path))
        _check_owner(plan)
        return plan
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _from_here(path: Path) -> Path:
    """Names a file from the working directory, so that a copy of that has a name of its own for it."""
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def _check_owner(plan: Plan) -> None:
    """Checks that the results of this name are not another file's, which still exists and still has the name."""
    record = plan.folder / OWNER
    if plan.file is None or plan.file.parent == plan.folder or not record.exists():
        return
    owner = Path(record.read_text().strip())
    if owner.is_file() and not owner.samefile(plan.file):
        try:
            name = load_experiment(owner).name
        except UserError:
            return
        if name == plan.experiment.name:
            raise UserError(f"name: {name!r} is the name of {owner} too, whose report and runs are in {plan.folder}.")


def plan_of(experiment: Experiment, whole: bool = False) -> Plan:
    """Works out all jobs.

    Args:
        experiment: the experiment.
        whole: with the cells of all rounds of seeds that there may be.

    Raises:
        UserError: a cell cannot be trained as it is asked for.
    """
    grids = cells_of(experiment)
    sources: dict[str, Dataset] = {name: load_dataset(name) for name in {cell.dataset for cell in union(grids)}}
    for name, source in sources.items():
        if groups := experiment.options_of(name).groups:
            check_groups(source, groups)
    for cell in union(grids):
        check_cell(cell, sources[cell.dataset])
        check_runtime(cell, experiment.runtime)
    trials = {grid.name: grids[grid.name] for grid in searched(experiment)}
    jobs: dict[Node, Job] = {}
    if trials:
        found = _jobs_of_cells(experiment, union(trials), sources)
        jobs = {node: job for node, job in found.items() if node.verb != "evaluate"}  # Never on the test part.
        choice = jobs[Node("tune", experiment.name)] = choice_job(experiment, trials, jobs)
        choices = _choices(choice)
        if choices is None:
            return Plan(experiment, trials, union(trials), _by_verb(jobs), deciding=True)
        grids = cells_of(experiment, choices)
        sources |= {cell.dataset: load_dataset(cell.dataset) for cell in union(grids) if cell.dataset not in sources}
    asked = None if whole or schedule_of(experiment) is None else read_asked(experiment)
    grids = cells_so_far(experiment, grids, asked) if asked else grids
    rest = union({name: cells for name, cells in grids.items() if name not in trials})
    jobs = jobs | _jobs_of_cells(experiment, rest, sources)
    measured = {name: cells for name, cells in grids.items() if name not in trials}
    jobs |= measure_jobs(experiment, measured, jobs)
    if asked and asked.open:
        return Plan(experiment, grids, union(grids), _by_verb(jobs), deciding=True)
    datasets = tuple(sorted({dataset_path(sources[cell.dataset].images) for cell in rest}))
    jobs |= closing_jobs(experiment, grids, jobs, datasets)
    return Plan(experiment, grids, union(grids), _by_verb(jobs))


def _jobs_of_cells(experiment: Experiment, cells: list[Cell], sources: dict[str, Dataset]) -> dict[Node, Job]:
    jobs: dict[Node, Job] = {}
    for cell in cells:
        options = experiment.options_of(cell.dataset)
        for node, job in jobs_of_cell(Subject(cell, sources[cell.dataset], options)).items():
            jobs.setdefault(node, job)
    return jobs


def _choices(choice: Job) -> Choices | None:
    """Reads what was chosen, if it was among the trials as they are now."""
    output = Path(choice.output)
    record = read_record(record_path(output))
    if not record or record.job.model_dump() != choice.definition or not output.exists():
        return None
    return {
        grid: {loss: entry["settings"] for loss, entry in chosen.items()} for grid, chosen in read_json(output).items()
    }


def _by_verb(jobs: dict[Node, Job]) -> dict[str, dict[str, Job]]:
    found: dict[str, dict[str, Job]] = {verb: {} for verb in STAGE_ORDER}
    for node, job in jobs.items():
        found[node.verb][node.key] = job
    return found
