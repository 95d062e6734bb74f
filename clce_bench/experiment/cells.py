"""One training run: its canonical form, name and place."""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from clce_bench.components.hyperparameters import has_momentum_encoder, is_self_supervised
from clce_bench.components.loss_info import NO_TRAINING, SELF_SUPERVISED
from clce_bench.components.registry import loss_path
from clce_bench.experiment.backbone_options import Backbone
from clce_bench.experiment.dataset_options import Split
from clce_bench.experiment.hazards import Hazard
from clce_bench.experiment.recipes import Augmentation, Recipe
from clce_bench.experiment.strict_model import StrictModel
from clce_bench.files import canonical_json, digest


class LossSpec(StrictModel):
    """A loss with a value for each of its hyper-parameters, which are further keys."""

    model_config = ConfigDict(extra="allow")

    name: str
    """``ce`` and ``none``, which trains nothing, have no hyper-parameters."""
    labels: Literal["images"] | None = None
    """``images`` where positives share an image though the loss could take classes."""

    @property
    def unused(self) -> set[str]:
        """``labels`` where the loss has those that it is made for."""
        return set() if self.labels else {"labels"}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


class Cell(StrictModel):
    """One training run. Two cells with the same meaning are equal, whatever the file looked like."""

    dataset: str
    size: int
    split: Split
    augmentation: Augmentation
    support: Augmentation | None = None
    """What may change in the support of few-shot episodes, where that differs: no loss is measured on other support."""
    backbone: Backbone
    loss: LossSpec
    contrastive_weight: Annotated[float, Field(alias="lambda")]
    batch_size: int
    seed: int
    recipe: Recipe
    groups: str = ""
    """Of a folder, the regular expression that says which images belong together."""
    label_noise: float = 0.0
    """Share of each class's training images whose label is wrong."""
    hazards: list[Hazard] = []
    """Rules that this cell breaks on purpose, see :mod:`clce_bench.experiment.hazards`."""

    @property
    def unused(self) -> set[str]:
        """What most cells do not have."""
        return {name for name in ("support", "groups", "label_noise", "hazards") if not getattr(self, name)}

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Everything that defines the result, without what this cell does not use."""
        unused: dict[str, Any] = {name: own.unused for name, own in self if isinstance(own, StrictModel)}
        if self.contrastive_weight == 0:
            unused["recipe"] |= {"projection_size", "head"}
        if self.contrastive_weight == 1:
            unused["recipe"] |= {"classifier"}
        if not self.trains:
            unused["recipe"] = set(Recipe.model_fields)
        return self.model_dump(by_alias=True, exclude={**unused, **dict.fromkeys(self.unused, True)})

    @property
    def trains(self) -> bool:
        """Whether it takes any step; a cell without steps shows what its backbone brings along."""
        return self.loss.name != NO_TRAINING

    @property
    def has_classifier(self) -> bool:
        """Whether it trains one; without one its linear probe classifies."""
        return self.trains and self.contrastive_weight < 1

    @property
    def loss_name(self) -> str:
        """What results call the loss: a loss that learns without classes is another than the one that has them."""
        return f"{self.loss.name}{SELF_SUPERVISED if self.loss.labels else ''}"

    @property
    def self_supervised(self) -> bool:
        """Whether its loss tells positives by their image."""
        return self.contrastive_weight > 0 and (
            self.loss.labels == "images" or is_self_supervised(loss_path(self.loss.name))
        )

    @property
    def momentum_encoder(self) -> bool:
        """Whether its loss compares with a momentum encoder."""
        return self.contrastive_weight > 0 and has_momentum_encoder(loss_path(self.loss.name))

    @cached_property
    def name(self) -> str:
        """Name of the cell's directory: readable axes and a hash of the rest."""
        loss = re.sub(r"[^A-Za-z0-9.]+", ".", self.loss_name)
        few = f"_n{self.split.images_per_class}" if self.split.images_per_class else ""
        part = (
            f"_{'test' if self.split.test_folds else 'class'}{self.split.testing}" if self.split.cross_fitting else ""
        )
        broken = f"_hazards-{'+'.join(self.hazards)}" if self.hazards else ""
        noise = f"_noise{self.label_noise:g}" if self.label_noise else ""
        axes = f"bs{self.batch_size}_lam{self.contrastive_weight:g}{few}{noise}{part}{broken}_s{self.seed}"
        return f"{loss}_{axes}-{digest(self.spec)}"

    @cached_property
    def key(self) -> str:
        """Its folder below ``results/cells``, which names its ``train`` and ``evaluate`` jobs too."""
        return str(Path(dataset_directory(self.dataset), self.backbone.name, self.name))

    @cached_property
    def directory(self) -> Path:
        """Where the cell's files lie, relative to the working directory."""
        return Path("results/cells", self.key)

    @property
    def axes(self) -> dict[str, Any]:
        """What tells cells apart, flat; hyper-parameters as ``loss.…``, the recipe as ``recipe.…``."""
        return {
            "dataset": self.dataset,
            "backbone": self.backbone.name,
            "loss": self.loss_name,
            "lambda": self.contrastive_weight,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fold": self.split.fold,
            "test_fold": self.split.test_fold,
            "test_folds": self.split.test_folds or 1,
            "class_fold": self.split.class_fold,
            "class_folds": self.split.class_folds or 1,
            "split_seed": self.split.seed,
            "images_per_class": float(self.split.images_per_class or "nan"),
            "label_noise": self.label_noise,
            **{f"loss.{key}": value for key, value in self.loss.hyperparameters.items()},
            **{f"recipe.{key}": _scalar(value) for key, value in self.spec["recipe"].items()},
            "recipe.augmentation": self.augmentation.label,
            "hazards": ", ".join(self.hazards),
        }


def _scalar(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, dict | list) else value


def dataset_directory(dataset: str) -> str:
    """Turns a data set's name into a folder's: ``folder-birds-1f3a9c`` for ``folder:photos/birds``."""
    kind, _, path = dataset.rpartition(":")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).name).strip("-.")[:100]
    return f"{re.sub('[^A-Za-z0-9._-]+', '-', kind)}-{readable}-{digest(dataset, 6)}" if kind else dataset


def union(grids: dict[str, list[Cell]]) -> list[Cell]:
    """Returns the cells of all grids, each once, sorted by name."""
    cells = {cell.name: cell for members in grids.values() for cell in members}
    return [cells[name] for name in sorted(cells)]
