"""The stages of a cell: what each is called, writes and reads, and what it is asked for, as a function of the cell."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from clce_bench.components.registry import dataset_path, loss_path
from clce_bench.data.dataset import Dataset
from clce_bench.data.sources.grouped import grouped_name
from clce_bench.experiment.cells import Cell, dataset_directory
from clce_bench.experiment.dataset_options import ROLES, DatasetOptions
from clce_bench.files import digest
from clce_bench.planning.cell_checks import weights_file
from clce_bench.planning.job import RESULTS, Job, Node


@dataclass(frozen=True)
class Subject:
    """What the stages of a cell know.

    Attributes:
        cell: the cell.
        source: its data set.
        options: what the experiment says of that data set.
    """

    cell: Cell
    source: Dataset
    options: DatasetOptions

    @property
    def spec(self) -> dict[str, Any]:
        """The cell's own specification."""
        return self.cell.spec


class Stage(ABC):
    """One stage.

    Attributes:
        name: the verb.
        output: below ``results/``, the file that vouches for the others, by the key of the job.
        reads: stages whose output it reads.
    """

    name: ClassVar[str]
    output: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says what is asked for."""

    @abstractmethod
    def key(self, subject: Subject) -> str:
        """Names the job: cells with equal names share it."""

    def is_needed(self, subject: Subject) -> bool:
        """Says whether the cell has such a job."""
        return True

    def components(self, subject: Subject) -> tuple[str, ...]:
        """Lists import paths of what the stage loads by name."""
        return ()

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the files that it reads; by stage, what was ``made`` before."""
        return {name: made[name].output for name in self.reads if name in made}

    def job(self, subject: Subject, made: Mapping[str, Job]) -> Job:
        """Puts the job together."""
        inputs = self.inputs(subject, made)
        return Job(
            self.name,
            self.spec(subject),
            inputs,
            self.components(subject),
            upstream={name: made[name].code for name in inputs if name in made},
            output=str(RESULTS / self.output.format(key=self.key(subject))),
            images=subject.source.state if "dataset" in inputs else "",
        )


class PrepareDataset(Stage):
    """Images of one size."""

    name, output = "dataset", "data/{key}/dataset.json"

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says which images, and in which state they are."""
        spec: dict[str, Any] = {"dataset": self._images(subject), "size": subject.cell.size}
        if subject.options.corrupt == "skip":
            spec["corrupt"] = "skip"
        return spec | ({"state": subject.source.state} if subject.source.state else {})

    def key(self, subject: Subject) -> str:
        """Names images and size."""
        skip = "-skip" if subject.options.corrupt == "skip" else ""
        groups = f"-groups-{digest(subject.options.groups, 6)}" if subject.options.groups else ""
        return f"{dataset_directory(subject.source.images)}-{subject.cell.size}px{skip}{groups}"

    def components(self, subject: Subject) -> tuple[str, ...]:
        """Returns what reads the images."""
        return (dataset_path(self._images(subject)),)

    def _images(self, subject: Subject) -> str:
        images, groups = subject.source.images, subject.options.groups
        return grouped_name(images, groups) if groups else images


class Divide(Stage):
    """Parts of a data set. One split serves all folds and test parts; the cell says which validates and which tests."""

    name, output, reads = "splits", "splits/{key}/splits.json", ("dataset",)

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says how to divide."""
        division = {key: value for key, value in subject.spec["split"].items() if key not in ROLES}
        spec = {"dataset": subject.cell.dataset, "size": subject.cell.size, "split": division}
        spec |= {"groups": subject.options.groups} if subject.options.groups else {}
        return spec | ({"hazards": ["leaky-split"]} if "leaky-split" in subject.cell.hazards else {})

    def key(self, subject: Subject) -> str:
        """Names data set, size and the rest by a hash."""
        return _hashed(subject, self.spec(subject))

    def components(self, subject: Subject) -> tuple[str, ...]:
        """Returns what knows the official parts."""
        return (dataset_path(subject.cell.dataset),)


class GetBackbone(Stage):
    """Weights of an architecture."""

    name, output = "backbone", "backbones/{key}/backbone.json"

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says which architecture and which weights."""
        own = subject.spec["backbone"]
        return {key: own[key] for key in ("name", "weights", "small_stem") if key in own}

    def key(self, subject: Subject) -> str:
        """Names the architecture, and the rest by a hash."""
        return f"{subject.cell.backbone.name}-{digest(self.spec(subject))}"

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the file of weights, if it is one of the user's."""
        file = weights_file(subject.cell.backbone.weights)
        return {"weights": str(file)} if file else {}


class ComputeFeatures(Stage):
    """Outputs of the frozen trunk."""

    name, output, reads = "features", "features/{key}/features.json", ("dataset", "splits", "backbone")

    def is_needed(self, subject: Subject) -> bool:
        """Says whether anything is frozen."""
        return subject.cell.backbone.freeze != "none"

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says what is frozen, and which views there are."""
        spec = {"augmentation": subject.spec["augmentation"], "backbone": subject.spec["backbone"]}
        return spec | ({"support": subject.spec["support"], **_novel(subject)} if subject.cell.support else {})

    def key(self, subject: Subject) -> str:
        """Names the split, or the data set if all splits are served, the architecture, and the rest by a hash."""
        images = DATASET if self._serves_all_splits(subject) else SPLITS
        return f"{images.key(subject)}/{subject.cell.backbone.name}-{digest(self.spec(subject))}"

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the files; the split only where it leaves something out."""
        found = super().inputs(subject, made)
        return {name: found[name] for name in found if name != "splits" or not self._serves_all_splits(subject)}

    def _serves_all_splits(self, subject: Subject) -> bool:
        """Says whether every image trains in some cell: all views of all images are then wanted, however divided."""
        split = subject.cell.split
        return bool(split.cross_fitting and not split.images_per_class and not subject.cell.support)


class CorruptImages(Stage):
    """Test images under common corruptions, or what the frozen trunk makes of them; only a measure reads them."""

    name, output, reads = "corruptions", "corruptions/{key}/corruptions.json", ("dataset", "splits", "backbone")

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says what is frozen."""
        return {"freeze": subject.cell.backbone.freeze}

    def key(self, subject: Subject) -> str:
        """Names the split, the architecture if it has a say, and the rest by a hash."""
        freeze, own = subject.cell.backbone.freeze, subject.cell.backbone
        trunk = "images" if freeze == "none" else f"{own.name}-{digest([BACKBONE.spec(subject), freeze])}"
        return f"{SPLITS.key(subject)}/{trunk}"

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the files; the backbone only where some of it is frozen."""
        found = super().inputs(subject, made)
        return {name: found[name] for name in found if name != "backbone" or subject.cell.backbone.freeze != "none"}


class SpoilLabels(Stage):
    """The data set as a cell's training part sees it where some of its labels are wrong."""

    name, output, reads = "labels", "labels/{key}/dataset.json", ("dataset", "splits")

    def is_needed(self, subject: Subject) -> bool:
        """Says whether any label is wrong."""
        return subject.cell.label_noise > 0

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says how many labels are wrong, and by which seed; nothing of the loss."""
        split, own = subject.cell.split, {"label_noise": subject.cell.label_noise, "seed": subject.cell.seed}
        return {"dataset": subject.cell.dataset, "fold": split.fold, "test_fold": split.testing, **own}

    def key(self, subject: Subject) -> str:
        """Names the split, and the rest by a hash."""
        return f"{SPLITS.key(subject)}/noise{subject.cell.label_noise:g}-{digest(self.spec(subject))}"


class CellStage(Stage):
    """A stage of one cell, which sees the labels that the cell has."""

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the files; of the data set, that with the cell's labels."""
        own = {"dataset": made["labels"].output} if "labels" in made else {}
        return super().inputs(subject, made) | own

    def key(self, subject: Subject) -> str:
        """Names the cell."""
        return subject.cell.key


class Train(CellStage):
    """The cell itself."""

    name, output, reads = "train", "cells/{key}/cell.json", ("dataset", "splits", "backbone", "features")

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Returns the cell's specification."""
        return subject.spec

    def components(self, subject: Subject) -> tuple[str, ...]:
        """Returns the contrastive loss, if it has a say."""
        return () if subject.cell.contrastive_weight == 0 else (loss_path(subject.cell.loss.name),)


class DrawEpisodes(Stage):
    """Few-shot tasks from the novel classes."""

    name, output, reads = "episodes", "episodes/{key}/episodes.json", ("dataset", "splits")

    def is_needed(self, subject: Subject) -> bool:
        """Says whether the data set is a few-shot one."""
        return subject.source.task == "few-shot"

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says from which split, how many and which."""
        return {**SPLITS.spec(subject), **_novel(subject), "episodes": subject.options.episodes.model_dump()}

    def key(self, subject: Subject) -> str:
        """Names data set, size and the rest by a hash."""
        return _hashed(subject, self.spec(subject))


class Evaluate(CellStage):
    """A trained cell, measured on the test part."""

    name, output, reads = "evaluate", "cells/{key}/metrics.json", ("dataset", "splits", "episodes")

    def spec(self, subject: Subject) -> dict[str, Any]:
        """Says nothing: the cell's record says all."""
        return {}

    def inputs(self, subject: Subject, made: Mapping[str, Job]) -> dict[str, str]:
        """Names the cell; its code is no code of this job's, for what it wrote is an input like any other."""
        return {"cell": made["train"].output, **super().inputs(subject, made)}


DATASET, SPLITS, BACKBONE = PrepareDataset(), Divide(), GetBackbone()
CELL_STAGES: tuple[Stage, ...] = (
    DATASET,
    SPLITS,
    BACKBONE,
    ComputeFeatures(),
    SpoilLabels(),
    Train(),
    DrawEpisodes(),
    Evaluate(),
)
COMPUTED_STAGES = ("features", "corruptions")
"""Stages whose results follow from their inputs and code, but whose last bits differ between machines."""
UPSTREAM_STAGES = ("dataset", "backbone", "splits", "labels", "episodes", *COMPUTED_STAGES)
"""Stages whose results are only wanted by others: they run when something that runs needs them."""
STAGE_ORDER = (*UPSTREAM_STAGES, "train", "tune", "evaluate", "measure", "summarize", "figures", "report", "track")


def jobs_of_cell(subject: Subject) -> dict[Node, Job]:
    """Lists the jobs that make and measure a cell, those first that others read."""
    made: dict[str, Job] = {}
    for stage in CELL_STAGES:
        if stage.is_needed(subject):
            made[stage.name] = stage.job(subject, made)
    return {Node(stage.name, stage.key(subject)): made[stage.name] for stage in CELL_STAGES if stage.name in made}


def _novel(subject: Subject) -> dict[str, Any]:
    """Says which classes are novel, where they take turns."""
    return {key: subject.spec["split"][key] for key in ("class_fold",) if key in subject.spec["split"]}


def _hashed(subject: Subject, spec: dict[str, Any]) -> str:
    return f"{dataset_directory(subject.cell.dataset)}-{subject.cell.size}px-{digest(spec)}"
