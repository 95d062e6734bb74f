"""Few-shot episodes per second: this package against loops over scikit-learn and easyfsl, on made-up features.

All contenders classify the same episodes with one thread each; loops run on the first episodes only. Writes a table to
docs/benchmarks/.

    python benchmarks/fewshot.py
"""

import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from easyfsl.methods import PrototypicalNetworks
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from threadpoolctl import threadpool_limits

from clce_bench.data.episodes import EpisodeSet, draw_episodes
from clce_bench.evaluation.fewshot import logistic_regression, nearest_centroid, unit_length

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
CLASSES, PER_CLASS, DIMENSIONS, WAY, QUERIES, VIEWS = 20, 100, 1280, 5, 15, 5
Features = NDArray[np.float32]
Accuracies = NDArray[np.float64]


def made_up_features(rng: np.random.Generator) -> tuple[Features, Features]:
    """Draws non-negative features as a network with ReLU gives them, and augmented views of each."""
    means = rng.normal(size=(CLASSES, DIMENSIONS)) * 0.5
    clean = np.repeat(means, PER_CLASS, axis=0) + 2.2 * rng.normal(size=(CLASSES * PER_CLASS, DIMENSIONS))
    views = clean + 1.5 * rng.normal(size=(VIEWS, *clean.shape))
    return np.maximum(clean, 0).astype(np.float32), np.maximum(views, 0).astype(np.float32)


def loop(fit: Callable[[Features, NDArray[np.int64], Features], NDArray[np.int64]]) -> Callable[..., Accuracies]:
    """Makes a loop over episodes of a classifier of rows."""

    def classify(features: Features, episodes: EpisodeSet, support: Features | None = None) -> Accuracies:
        unit = unit_length(features)
        views = unit[None] if support is None else unit_length(support)
        accuracies = []
        for own, queries in zip(*episodes, strict=True):
            labels = np.tile(np.repeat(np.arange(WAY), own.shape[1]), len(views))
            predicted = fit(np.concatenate([view[own.ravel()] for view in views]), labels, unit[queries.ravel()])
            accuracies.append((predicted == np.repeat(np.arange(WAY), queries.shape[1])).mean())
        return np.array(accuracies)

    return classify


@loop
def sklearn_centroid(samples: Features, labels: NDArray[np.int64], queries: Features) -> NDArray[np.int64]:
    """Classifies by scikit-learn's nearest centroid."""
    predicted: NDArray[np.int64] = NearestCentroid().fit(samples, labels).predict(queries)
    return predicted


@loop
def easyfsl_centroid(samples: Features, labels: NDArray[np.int64], queries: Features) -> NDArray[np.int64]:
    """Classifies by easyfsl's prototypical networks, the features being given."""
    model = PrototypicalNetworks()
    with torch.inference_mode():
        model.process_support_set(torch.from_numpy(samples), torch.from_numpy(labels))
        predicted: NDArray[np.int64] = model(torch.from_numpy(queries)).argmax(dim=1).numpy()
    return predicted


@loop
def sklearn_logistic(samples: Features, labels: NDArray[np.int64], queries: Features) -> NDArray[np.int64]:
    """Classifies by scikit-learn's logistic regression."""
    predicted: NDArray[np.int64] = LogisticRegression(C=1.0, max_iter=1000).fit(samples, labels).predict(queries)
    return predicted


METHODS: dict[str, tuple[Callable[..., Accuracies], dict[str, Callable[..., Accuracies]]]] = {
    "nearest centroid": (nearest_centroid, {"scikit-learn": sklearn_centroid, "easyfsl": easyfsl_centroid}),
    "logistic regression": (logistic_regression, {"scikit-learn": sklearn_logistic}),
}


def measure(episodes: int, looped: int) -> pd.DataFrame:
    """Times all contenders; ours on ``episodes`` episodes, loops on the first ``looped``."""
    rng = np.random.default_rng(0)
    clean, views = made_up_features(rng)
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    rows = []
    for shot in (1, 5):
        drawn = draw_episodes(labels, np.arange(len(labels)), episodes, WAY, shot, QUERIES, rng)
        first = EpisodeSet(drawn.support[:looped], drawn.query[:looped])
        for support in (None, views):
            for method, (ours, peers) in METHODS.items():
                ours(clean, first, support)  # Warms caches and libraries up.
                speed, accuracy = _timed(ours, clean, drawn, support)
                row = {"method": method, "shots": shot, "views": 1 if support is None else VIEWS, "speed": speed}
                for peer, classify in peers.items():
                    theirs, reference = _timed(classify, clean, first, support)
                    gap = 100 * float(accuracy[:looped].mean() - reference.mean())
                    rows.append({**row, "peer": peer, "theirs": theirs, "gap": gap, "accuracy": reference.mean()})
                    click.echo(rows[-1], err=True)
    return pd.DataFrame(rows)


def _timed(
    classify: Callable[..., Accuracies], features: Features, episodes: EpisodeSet, support: Features | None
) -> tuple[float, Accuracies]:
    start = time.perf_counter()
    accuracies = classify(features, episodes, support)
    return len(accuracies) / (time.perf_counter() - start), accuracies


@click.command()
@click.option("--episodes", default=2000, show_default=True)
@click.option("--looped", default=2000, show_default=True, help="Episodes that the loops run on.")
def main(episodes: int, looped: int) -> None:
    """Measure, and write docs/benchmarks/fewshot.md."""
    torch.set_num_threads(1)
    # scikit-learn's nearest centroid wants deviations within classes, which one shot has not; printing takes time.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        results = measure(episodes, looped)
    lines = [
        "| method | shots | support views | here (episodes/s) | against | episodes/s | faster | accuracy apart |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in results.itertuples():
        setting = f"| {row.method} | {row.shots} | {row.views} | {row.speed:,.0f} | {row.peer} | {row.theirs:,.0f}"
        lines.append(
            f"{setting} | {row.speed / row.theirs:.1f} × | {row.gap:+.3f} points of {100 * row.accuracy:.1f} |"
        )
    packages = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "easyfsl", "numpy"))
    setting = (
        f"{WAY}-way episodes, {QUERIES} queries per class, {DIMENSIONS} dimensions, made-up features of {CLASSES}"
        f" classes, one thread, {episodes:,} episodes (loops: {looped:,}); {packages}; {date.today()}. All normalise"
        " features alike; logistic regression has C = 1 everywhere."
    )
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page = f"# Few-shot episodes per second\n\n{setting}\n\n" + "\n".join(lines)
    (OUTPUT / "fewshot.md").write_text(page + "\n\nMeasured by `python benchmarks/fewshot.py`.\n")


if __name__ == "__main__":
    main()
