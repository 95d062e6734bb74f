"""The ``episodes`` stage: few-shot tasks, drawn once and shared by all losses."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.errors import UserError
from clce_bench.files import sha256_of, staged, write_json
from clce_bench.seeds import seed_for


class EpisodeSet(NamedTuple):
    """Rows of images; the class of ``support[e, w]`` and ``query[e, w]`` is way ``w`` of episode ``e``.

    Attributes:
        support: int64, (episodes, way, shot).
        query: int64, (episodes, way, queries).
    """

    support: NDArray[np.int64]
    query: NDArray[np.int64]


def make_episodes(spec: dict[str, Any], items: Path, splits: Path, output: Path) -> None:
    """Writes ``episodes.npz`` (``support_K`` and ``query_K`` for each number K of shots) and ``episodes.json``.

    Args:
        spec: ``dataset``, ``size``, ``split``, ``episodes`` (``count``, ``way``, ``shots``, ``queries``, ``seed``), and
            ``class_fold`` where classes take turns in being novel.
        items: the data set's ``items.parquet``.
        splits: its ``splits.parquet``; episodes are drawn from the classes of the part that tests.
        output: the folder to fill.

    Raises:
        UserError: the test part has too few classes, or a class has too few images.
    """
    frame, turn = pd.read_parquet(items), {key: spec[key] for key in ("class_fold",) if key in spec}
    rows = np.flatnonzero(pd.read_parquet(splits)["test_fold"] == turn.get("class_fold", 0))
    novel = frame.iloc[rows]
    # A group of near-copies that reaches into several classes counts for the first one, so that no episode has two.
    owned = (novel["label"] == novel.groupby("group")["label"].transform("min")).to_numpy()
    novel, rows = novel[owned], rows[owned]
    labels, groups = novel["label"].to_numpy(), np.unique(novel["group"].to_numpy(object), return_inverse=True)[1]
    options = spec["episodes"]
    arrays: dict[str, NDArray[np.int64]] = {}
    queries: dict[str, int] = {}
    for shot in options["shots"]:
        axes = {"dataset": spec["dataset"], "seed": options["seed"], "way": options["way"], "shot": shot}
        seed = seed_for("episodes", **axes, **turn)
        # PCG64 by name: the default may become another one.
        rng = np.random.Generator(np.random.PCG64(seed))
        drawn = draw_episodes(labels, groups, options["count"], options["way"], shot, options["queries"], rng)
        arrays |= {f"support_{shot}": rows[drawn.support], f"query_{shot}": rows[drawn.query]}
        queries[str(shot)] = drawn.query.shape[2]
    with staged(output, last="episodes.json") as folder:
        np.savez_compressed(folder / "episodes.npz", allow_pickle=False, **arrays)
        checksum = {"episodes.npz": sha256_of(folder / "episodes.npz")}
        write_json(folder / "episodes.json", {**spec, "queries_per_class": queries, "sha256": checksum})


def draw_episodes(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    count: int,
    way: int,
    shot: int,
    queries: int,
    rng: np.random.Generator,
) -> EpisodeSet:
    """Draws episodes of different classes, of each class different groups, of each group one image.

    All episodes are drawn at once, and from uniform numbers alone: their stream is the same for every version of numpy.

    Args:
        labels: class of each image, (images,).
        groups: group of near-copies of each image, (images,), each within one class.
        count: how many episodes.
        way: classes per episode.
        shot: support images per class.
        queries: query images per class, at most; fewer when the smallest class has fewer groups left.
        rng: the only source of randomness.

    Returns:
        Places in ``labels``.

    Raises:
        UserError: fewer classes than ``way``, or a class without a group left for a query.
    """
    order = np.lexsort((groups, labels))
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    by_place = np.argsort(starts)
    starts, sizes = starts[by_place], sizes[by_place]  # Of each group among the ordered images, class after class.
    _, first_group, groups_in = np.unique(labels[order][starts], return_index=True, return_counts=True)
    if len(groups_in) < way:
        raise UserError(f"episodes.way: {way} is not allowed: the test part has {len(groups_in)} classes.")
    smallest = int(groups_in.min())
    if smallest <= shot:
        raise UserError(f"episodes.shots: {shot} is not allowed: the smallest class has {smallest} distinct images.")
    taken = shot + min(queries, smallest - shot)
    classes = _draw(np.full(count, len(groups_in)), way, rng).ravel()
    chosen = first_group[classes][:, None] + _draw(groups_in[classes], taken, rng)
    within = (rng.random(chosen.shape) * sizes[chosen]).astype(np.int64)
    rows = order[starts[chosen] + within].reshape(count, way, taken)
    return EpisodeSet(support=rows[:, :, :shot], query=rows[:, :, shot:])


def _draw(sizes: NDArray[np.int64], taken: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws ``taken`` different numbers below each of ``sizes``, in random order, (len(sizes), taken).

    The first steps of Fisher and Yates' shuffle, for all sizes side by side.
    """
    chances = rng.random((len(sizes), taken))
    drawn = np.empty((len(sizes), taken), dtype=np.int64)
    per_chunk = max(1, 4_000_000 // int(sizes.max()))
    for start in range(0, len(sizes), per_chunk):  # Bounds the memory of the shuffled numbers.
        chunk = slice(start, start + per_chunk)
        size = sizes[chunk]
        lines = np.arange(len(size))
        numbers = np.tile(np.arange(size.max(), dtype=np.int32), (len(size), 1))
        for step in range(taken):
            other = step + (chances[chunk, step] * (size - step)).astype(np.int64)
            drawn[chunk, step] = numbers[lines, other]
            numbers[lines, other] = numbers[:, step]
    return drawn


def load_episodes(path: Path) -> dict[int, EpisodeSet]:
    """Reads the episode sets of an ``episodes.npz`` by their number of shots."""
    with np.load(path) as arrays:
        shots = sorted(int(name.removeprefix("support_")) for name in arrays.files if name.startswith("support_"))
        return {shot: EpisodeSet(arrays[f"support_{shot}"], arrays[f"query_{shot}"]) for shot in shots}
