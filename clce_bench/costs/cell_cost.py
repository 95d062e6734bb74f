"""What cells cost before they are trained: operations, memory, disk."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil, prod
from pathlib import Path
from typing import NamedTuple

from clce_bench.components.registry import load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.experiment.backbone_options import Backbone
from clce_bench.experiment.cells import Cell
from clce_bench.files import digest, read_stored, write_json
from clce_bench.models.profiling import COUNT, Profile
from clce_bench.planning.plan import RESULTS, Plan

FOLDER = RESULTS / "costs"
"""Counts and measurements, which can be deleted and made again."""

_STATE = {"sgd": 1, "momentum": 1, "lars": 1, "lion": 1, "muon": 1}
"""Numbers that an optimiser keeps per weight; two for the others."""
PROBE_PASSES, PROBE_IMAGES = 190, 200_000
"""What the linear probe takes: passes over all features that it fits (on drawings and digits cross-validation stopped
after three to seven strengths, and took 160 to 230 with the last fit), images at most."""
READING = 14
"""Classes that take as long as reading the features in a pass does."""


@dataclass(frozen=True)
class CellCost:
    """What one cell costs.

    Attributes:
        flops: operations of training, validation and the final features.
        weights: bytes of weights, gradients and the optimiser's state.
        row: bytes of activations per row that the network sees at once.
        rows: rows that the network sees at once, at most.
        disk: bytes of the cell's results.
        probe: operations of the linear probe, by far the longest part of evaluation where there are many images; what
            reading features takes counts as operations.
        evaluation: bytes that evaluation holds at once.
    """

    flops: float
    weights: int
    row: int
    rows: int
    disk: int
    probe: float
    evaluation: int

    @property
    def memory(self) -> int:
        """Bytes at the peak, with all rows at once."""
        return self.weights + self.row * self.rows


def profile_of(backbone: Backbone, size: int) -> Profile:
    """Returns what an image costs a backbone: from an earlier count, or counted now, for which torch is imported.

    Raises:
        UserError: no such model, or one that cannot be cut there or take this size.
    """
    if earlier := _counted(backbone, size):
        return earlier
    from clce_bench.models.profiling import count

    profile = count(backbone, size)
    write_json(_count_file(backbone, size), asdict(profile))
    return profile


def _counted(backbone: Backbone, size: int) -> Profile | None:
    counted = read_stored(_count_file(backbone, size))
    return Profile(**counted) if counted else None


def _count_file(backbone: Backbone, size: int) -> Path:
    return FOLDER / f"{backbone.name}-{_profile_key(backbone, size)}.json"


def _profile_key(backbone: Backbone, size: int) -> str:
    return digest([backbone.name, backbone.small_stem, backbone.freeze, size, COUNT])


SUPPORT_VIEWS = 5
"""Augmented views of a support image, at most."""


def episodes_flops(plan: Plan, cell: Cell) -> float:
    """Estimates the operations of a cell's few-shot classifiers; none where it has no episodes.

    Nearly all of them are logistic regression's, whose matrices have a row per support view. Measured: 25 rows take as
    long as 20 million operations of a linear probe, 125 rows as 160 million.

    Args:
        plan: the experiment.
        cell: one of its cells.
    """
    path = plan.jobs["evaluate"][cell.key].inputs.get("episodes")
    if not path:
        return 0.0
    drawn = plan.jobs["episodes"][str(Path(path).parent.relative_to(RESULTS / "episodes"))].spec["episodes"]
    views = min(SUPPORT_VIEWS, max(cell.backbone.cached_views, 1))
    rows = [drawn["way"] * shot * views for shot in drawn["shots"]]
    return float(drawn["count"] * sum(20e6 + 72 * each**3 for each in rows))


def cell_cost(cell: Cell, source: Dataset, profile: Profile, micro_batch: int | str | None = None) -> CellCost:
    """Estimates the cost of a cell.

    Args:
        cell: what is trained.
        source: its data set, for the numbers of images and classes; what a user's folder leaves open counts as none.
        profile: of its backbone at its size.
        micro_batch: rows at once, as ``runtime.micro_batch``. For ``auto`` the operations are those of micro-batches,
            the memory is that of all rows, whatever will fit.
    """
    recipe, split = cell.recipe, cell.split
    train = _training_images(cell, source)
    rows = recipe.views * cell.batch_size
    at_once = min(rows, micro_batch) if isinstance(micro_batch, int) else rows
    twice = at_once < rows or micro_batch == "auto"
    wide, classes = profile.features, source.class_count
    classifier = wide * classes if cell.contrastive_weight < 1 else 0
    layers = pairwise([*recipe.projection.widths(wide), recipe.projection_size])
    projection = sum(map(prod, layers)) if cell.contrastive_weight > 0 else 0
    forward = profile.forward + 2 * (classifier + projection)
    # Micro-batches embed every row twice: once for the loss, once for the gradients.
    step = forward * (1 + twice + cell.momentum_encoder) + profile.backward + 4 * (classifier + projection)
    per_epoch = train // cell.batch_size
    steps = recipe.step_count(per_epoch) if cell.trains else 0
    epochs = ceil(steps / max(per_epoch, 1))
    validation, images = train // (split.folds - 1), source.image_count or train
    trained = profile.trained + classifier + projection
    copies = 2 + _STATE.get(recipe.optimizer, 2) + bool(recipe.ema) + cell.momentum_encoder
    features, logits = 2 * images * wide, 4 * images * classes * (cell.contrastive_weight < 1)
    return CellCost(
        flops=steps * rows * step + (epochs * validation + images) * forward,
        weights=4 * trained * copies,
        row=profile.activations,
        rows=at_once,
        disk=4 * trained + features + logits,
        probe=PROBE_PASSES * 4 * min(train + validation, PROBE_IMAGES) * wide * (classes + READING),
        evaluation=features + logits + 3 * 2 * features,  # As stored, and in float32: all, a part, that part scaled.
    )


def _training_images(cell: Cell, source: Dataset) -> int:
    split, images = cell.split, source.train_images
    if split.cross_fitting and source.image_count:
        images = round(source.image_count * (1 - split.test_share) * (1 - 1 / split.folds))
    few = (split.images_per_class or 0) * source.class_count
    return min(images, few) if few else images


def costs_of(plan: Plan, count: bool = True) -> dict[str, CellCost]:
    """Estimates the cost of every cell, by its name.

    Args:
        plan: the experiment.
        count: count for backbones that were never counted, for which torch is imported; else leave out their cells.

    Raises:
        UserError: a backbone does not exist, or cannot be cut or sized as the experiment says.
    """
    micro_batch = plan.experiment.runtime.micro_batch
    sources = {name: load_dataset(name) for name in {cell.dataset for cell in plan.cells}}
    kinds = {_profile_key(cell.backbone, cell.size): cell for cell in plan.cells}
    profile = profile_of if count else _counted
    profiles = {key: profile(cell.backbone, cell.size) for key, cell in kinds.items()}
    return {
        cell.name: cell_cost(cell, sources[cell.dataset], found, micro_batch)
        for cell in plan.cells
        if (found := profiles[_profile_key(cell.backbone, cell.size)])
    }


class FeaturesCost(NamedTuple):
    """What the outputs of a frozen trunk cost.

    Attributes:
        flops: operations of the trunk.
        disk: bytes of its outputs.
        views: images that it sees.
        cell: one that reads them.
    """

    flops: float
    disk: int
    views: int
    cell: Cell


def features_costs(plan: Plan, count: bool = True) -> dict[str, FeaturesCost]:
    """Estimates what the outputs of frozen trunks cost, each computed once.

    Args:
        plan: the experiment.
        count: as for :func:`costs_of`.

    Returns:
        By the key of the job ``features``.
    """
    found: dict[str, FeaturesCost] = {}
    for cell in plan.cells:
        path = plan.jobs["train"][cell.key].inputs.get("features")
        key = str(Path(path).parent.relative_to(RESULTS / "features")) if path else ""
        if not path or key in found:
            continue
        profile = profile_of(cell.backbone, cell.size) if count else _counted(cell.backbone, cell.size)
        if profile:
            source = load_dataset(cell.dataset)
            pool = source.train_images * cell.split.folds // (cell.split.folds - 1)
            if cell.split.cross_fitting:  # Every image trains when another part tests.
                pool = source.image_count or pool
            images = (source.image_count or pool) + cell.backbone.cached_views * pool
            found[key] = FeaturesCost(images * profile.trunk, images * profile.stored, images, cell)
    return found
