"""The ``evaluate`` stage: reads the test part, once per cell. It needs no torch: ``train`` stored the embeddings."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clce_bench.data.episodes import EpisodeSet, load_episodes
from clce_bench.data.prepared import rows_by_part
from clce_bench.data.pretraining_overlap import overlap_of
from clce_bench.errors import UserError
from clce_bench.evaluation import geometry
from clce_bench.evaluation.fewshot import logistic_regression, nearest_centroid, unit_length
from clce_bench.evaluation.known_classes import classify, stored_images
from clce_bench.evaluation.measured import NOT_FINITE, Measured, at_most
from clce_bench.experiment.dataset_options import Split
from clce_bench.files import read_json, sha256_of, staged
from clce_bench.records.environment import now
from clce_bench.records.job_records import check_inputs, content_of, modules_of
from clce_bench.records.record_models import EvaluationRecord, JobDefinition

Classifier = Callable[..., NDArray[np.float64]]
GEOMETRY_IMAGES = 10_000
"""Test images, at most, whose pairs are looked at; of larger sets a random part, the same for all cells."""


def evaluate_cell(job: dict[str, Any], output: Path) -> None:
    """Writes ``metrics.json`` and ``metrics.npz``.

    Args:
        job: ``inputs`` (paths by name) and ``code`` (a fingerprint).
        output: the ``metrics.json``; ``metrics.npz`` goes beside it.
    """
    started, clock = now(), time.perf_counter()
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    check_inputs(job)
    record = read_json(paths["cell"])
    spec = record["job"]["spec"]
    measured = Measured({}, {})
    if record["status"] == "done":
        embeddings = paths["cell"].with_name("embeddings.npz")
        if sha256_of(embeddings) != record["outputs_sha256"]["embeddings.npz"]:
            raise UserError(f"{embeddings}: it is not what training wrote. Remove it: the cell is then trained again.")
        with threadpool_limits(limits=1), np.load(embeddings) as stored:
            measured = measure(dict(stored), paths, Split.model_validate(spec["split"]))
    seconds = round(time.perf_counter() - clock, 3)
    with staged(output.parent, last=output.name) as folder:
        np.savez_compressed(folder / "metrics.npz", allow_pickle=False, **measured.arrays)
        EvaluationRecord(
            status=record["status"],
            metrics=measured.metrics,
            absent=measured.absent,
            probe={"C": measured.probe.strength} if measured.probe else None,
            overlap=overlap_of(spec["backbone"]["name"], spec["backbone"]["weights"], spec["dataset"])._asdict(),
            cell_sha256=record["outputs_sha256"],
            job=JobDefinition.model_validate(job),
            inputs_sha256={name: content_of(path) for name, path in paths.items()},
            outputs_sha256={"metrics.npz": sha256_of(folder / "metrics.npz")},
            modules=modules_of("evaluate", job["code"]),
            started=started,
            seconds=seconds,
        ).write(folder / output.name)


def measure(stored: dict[str, NDArray[Any]], paths: dict[str, Path], split: Split) -> Measured:
    """Measures a cell.

    Args:
        stored: the cell's embeddings: ``rows`` (images), ``features`` and perhaps ``logits`` in their order; for a
            few-shot cell ``support_rows`` and ``support`` too.
        paths: ``dataset``, ``splits`` and, for a few-shot cell, ``episodes``.
        split: says which fold validated, and which part tests.
    """
    items = pd.read_parquet(paths["dataset"].parent / "items.parquet")
    parts, rows = rows_by_part(paths["splits"], split.fold, split.testing), stored["rows"]
    features = stored["features"].astype(np.float32)
    test = features[np.isin(rows, parts["test"])]
    names, labels = np.unique(items["class"].to_numpy(dtype=str)[parts["test"]], return_inverse=True)
    if not all(np.isfinite(stored[name]).all() for name in ("features", "support") if name in stored):
        return Measured({}, {"classes": names}, {"all metrics": NOT_FINITE})
    if "episodes" in paths:
        drawn = load_episodes(paths["episodes"].parent / "episodes.npz")
        options = read_json(paths["episodes"]).get("episodes", {})
        classes = np.unique(items["class"].to_numpy(dtype=str), return_inverse=True)[1]
        tasks = few_shot(stored, features, drawn, classes, options.get("normalise", True))
    else:
        tasks = classify(features, stored.get("logits"), stored_images(rows, items, parts))
    with np.errstate(invalid="ignore", divide="ignore"):  # What collapsed features make of it is told below.
        shape = embedding_geometry(test, labels)
    arrays = {"classes": names, "test_rows": parts["test"], **tasks.arrays, **shape.arrays}
    measured = tasks._replace(metrics={**tasks.metrics, **shape.metrics}, arrays=arrays)
    return measured.without_non_finite()


def few_shot(
    stored: dict[str, NDArray[Any]],
    features: NDArray[np.float32],
    tasks: dict[int, EpisodeSet],
    classes: NDArray[np.int64],
    normalise: bool,
) -> Measured:
    """Measures classifiers of classes that training did not see, on the shared episodes.

    Args:
        stored: as for :func:`measure`; ``support`` are augmented views of the images ``support_rows``.
        features: of all stored images.
        tasks: episodes by their number of shots.
        classes: number of the class of each image of the data set, in the order of their names.
        normalise: scale features to unit length first.
    """
    novel, support = stored["support_rows"], stored["support"].astype(np.float32)
    queries = features[np.searchsorted(stored["rows"], novel)]
    metrics: dict[str, float] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for shot, episodes in tasks.items():
        places = EpisodeSet(*(np.searchsorted(novel, images) for images in episodes))
        name = f"fewshot_{episodes.support.shape[1]}way_{shot}shot"
        methods: dict[str, Classifier] = {name: nearest_centroid, f"{name}_logistic": logistic_regression}
        for method, classifier in methods.items():
            by_class = classifier(queries, places, support, normalise=normalise)
            accuracy = by_class.mean(axis=1)
            hits = np.rint(by_class * episodes.query.shape[2]).astype(np.uint16)
            metrics |= {method: float(accuracy.mean()), f"{method}_episode_std": float(accuracy.std(ddof=1))}
            arrays |= {f"outcome.{method}": accuracy.astype(np.float32), f"unit.{method}": np.arange(len(accuracy))}
            arrays |= {f"hits.{method}": hits, f"ways.{method}": classes[episodes.support[:, :, 0]].astype(np.uint16)}
    return Measured(metrics, arrays)


def embedding_geometry(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Measured:
    """Measures the geometry of the embeddings of the test images.

    Args:
        features: of the test images.
        labels: their classes, numbered from 0.
    """
    classes = int(labels.max()) + 1
    chosen = at_most(GEOMETRY_IMAGES, len(features), "geometry")
    features, labels = features[chosen], labels[chosen]
    unit = unit_length(features)
    pairs = geometry.pairs(unit, labels, classes)
    variances = geometry.principal_variances(features)
    metrics = {
        "alignment": pairs.alignment,
        "uniformity": pairs.uniformity,
        "cosine_positive": pairs.positive_mean,
        "cosine_negative": pairs.negative_mean,
        "silhouette": geometry.silhouette(unit, labels),
        "isoscore": geometry.isoscore(variances),
        "effective_rank": geometry.effective_rank(variances),
    }
    arrays = {"cosine_edges": geometry.EDGES, "cosine_positive": pairs.positive, "cosine_negative": pairs.negative}
    return Measured(metrics, arrays)
