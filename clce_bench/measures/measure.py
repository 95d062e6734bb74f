"""The ``measure`` stage: one further measure of a trained cell, in files of its own beside those of ``evaluate``."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clce_bench.components.registry import load, measure_path
from clce_bench.data.prepared import rows_by_part
from clce_bench.errors import UserError
from clce_bench.evaluation.known_classes import Images, stored_images
from clce_bench.evaluation.measured import NOT_FINITE, Measured
from clce_bench.experiment.dataset_options import Split
from clce_bench.files import read_json, sha256_of, write_json
from clce_bench.records.environment import now


class Embedded(NamedTuple):
    """A trained cell with the embeddings of its images.

    Attributes:
        directory: of the cell.
        paths: inputs of the job, by name.
        images: places of the parts in the arrays below, labels, groups.
        rows: of the data set, (images,).
        features: (images, d).
        logits: (images, classes); ``None`` where no classifier was trained.
    """

    directory: Path
    paths: dict[str, Path]
    images: Images
    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    logits: NDArray[np.float32] | None

    @property
    def test_units(self) -> NDArray[np.int64]:
        """The group of near-copies of each test image, numbered from 0, (test images,)."""
        return np.unique(self.images.groups[self.images.test], return_inverse=True)[1]


def measure_cell(job: dict[str, Any], output: Path) -> None:
    """Writes ``measure-NAME.json``, with the metrics, and ``measure-NAME.npz``, with what lies behind them.

    Args:
        job: ``spec`` with ``measure``, ``inputs`` (paths by name) and ``code``.
        output: the ``measure-NAME.json``.
    """
    started, clock = now(), time.perf_counter()
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    record = read_json(paths["cell"])
    measured = Measured({}, {})
    if record["status"] == "done":
        cell = embedded(record, paths)
        if np.isfinite(cell.features).all():
            with threadpool_limits(limits=1):
                measured = load(measure_path(job["spec"]["measure"]))(cell).without_non_finite()
        else:
            measured = Measured({}, {}, {job["spec"]["measure"]: NOT_FINITE})
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output.with_suffix(".npz"), allow_pickle=False, **measured.arrays)
    content = {"metrics": measured.metrics, "absent": measured.absent, "started": started}
    write_json(output, {**content, "seconds": round(time.perf_counter() - clock, 3)})


def embedded(record: dict[str, Any], paths: dict[str, Path]) -> Embedded:
    """Reads what training stored.

    Args:
        record: the content of ``cell.json``.
        paths: ``cell``, ``dataset``, ``splits``.

    Raises:
        UserError: the embeddings are not those that training wrote.
    """
    path = paths["cell"].with_name("embeddings.npz")
    if sha256_of(path) != record["outputs_sha256"]["embeddings.npz"]:
        raise UserError(f"{path}: it is not what training wrote. Remove it: the cell is then trained again.")
    split = Split.model_validate(record["job"]["spec"]["split"])
    items = pd.read_parquet(paths["dataset"].with_name("items.parquet"))
    with np.load(path) as stored:
        rows, logits = stored["rows"], stored.get("logits")
        images = stored_images(rows, items, rows_by_part(paths["splits"], split.fold, split.testing))
        features = stored["features"].astype(np.float32)
    return Embedded(paths["cell"].parent, paths, images, rows, features, logits)


def per_image(values: dict[str, NDArray[Any]], units: NDArray[np.int64]) -> Measured:
    """Makes metrics of what was measured on each test image: their means, and the values behind them.

    Args:
        values: by metric, (images,).
        units: group of near-copies of each image, (images,).
    """
    arrays: dict[str, NDArray[Any]] = {f"outcome.{name}": found.astype(np.float32) for name, found in values.items()}
    arrays |= {f"unit.{name}": units for name in values}
    return Measured({name: float(found.mean()) for name, found in values.items()}, arrays)
