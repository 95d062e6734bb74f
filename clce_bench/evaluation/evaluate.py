"""The ``evaluate`` stage: reads the test part, once per cell. It needs no torch: ``train`` stored the embeddings."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from clce_bench.data.episodes import EpisodeSet, load_episodes
from clce_bench.data.overlap import overlap_of
from clce_bench.data.prepared import rows_by_part
from clce_bench.evaluation.fewshot import nearest_centroid
from clce_bench.evaluation.probe import linear_probe
from clce_bench.files import read_json, write_json
from clce_bench.provenance import now


def evaluate_cell(job: dict[str, Any], output: Path) -> None:
    """Writes ``metrics.json``.

    Classification: ``top1`` (the classifier; absent at λ = 1) and ``probe_top1`` (a linear probe on the features).
    Few-shot: ``fewshot_5way_1shot`` and so on, with ``…_episode_std`` for the spread over episodes.

    Args:
        job: ``inputs`` (paths by name) and ``code`` (a fingerprint).
        output: the file to write.
    """
    started, clock = now(), time.perf_counter()
    paths = {name: Path(path) for name, path in job["inputs"].items()}
    record = read_json(paths["cell"])
    spec = record["job"]["spec"]
    metrics: dict[str, float] = {}
    if record["status"] == "done":
        with threadpool_limits(limits=1):
            if "episodes" in paths:
                metrics = few_shot_metrics(paths)
            else:
                metrics = classification_metrics(paths, spec["split"]["fold"])
    overlap = overlap_of(spec["backbone"]["name"], spec["backbone"]["weights"], spec["dataset"])
    result = {
        "status": record["status"],
        "metrics": metrics,
        "overlap": overlap._asdict(),
        "cell_sha256": record["outputs_sha256"],
        "code": job["code"],
        "started": started,
        "seconds": round(time.perf_counter() - clock, 3),
    }
    write_json(output, result)


def classification_metrics(paths: dict[str, Path], fold: int) -> dict[str, float]:
    """Measures a cell whose classes occur in training.

    Args:
        paths: ``cell``, ``dataset`` and ``splits``.
        fold: the fold that validated.
    """
    labels = pd.read_parquet(paths["dataset"].parent / "items.parquet")["label"].to_numpy()
    parts = rows_by_part(paths["splits"], fold)
    train, test = parts["train"], parts["test"]
    metrics: dict[str, float] = {}
    with np.load(paths["cell"].parent / "embeddings.npz") as arrays:
        rows, features = arrays["rows"], arrays["features"].astype(np.float32)
        if "logits" in arrays:
            predicted = np.unique(labels[train])[arrays["logits"][np.isin(rows, test)].argmax(axis=1)]
            metrics["top1"] = float((predicted == labels[test]).mean())
    places = {part: np.flatnonzero(np.isin(rows, members)) for part, members in parts.items()}
    probe = linear_probe(features, labels[rows], places["train"], places["validation"])
    metrics["probe_top1"] = float((probe.predict(features[places["test"]]) == labels[test]).mean())
    return metrics


def few_shot_metrics(paths: dict[str, Path]) -> dict[str, float]:
    """Measures a cell on episodes of classes that training did not see.

    Args:
        paths: ``cell`` and ``episodes``.
    """
    with np.load(paths["cell"].parent / "embeddings.npz") as arrays:
        rows, features = arrays["rows"], arrays["features"].astype(np.float32)
    metrics: dict[str, float] = {}
    for shot, episodes in load_episodes(paths["episodes"].parent / "episodes.npz").items():
        places = EpisodeSet(*(np.searchsorted(rows, images) for images in episodes))
        accuracy = nearest_centroid(features, places)
        name = f"fewshot_{episodes.support.shape[1]}way_{shot}shot"
        metrics[name] = float(accuracy.mean())
        metrics[f"{name}_episode_std"] = float(accuracy.std(ddof=1))
    return metrics
