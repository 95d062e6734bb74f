"""The ``episodes`` stage: few-shot tasks, drawn once and shared by all losses."""

from collections.abc import Mapping
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
        spec: ``dataset``, ``size``, ``split``, ``episodes`` (``count``, ``way``, ``shots``, ``queries``, ``seed``).
        items: the data set's ``items.parquet``.
        splits: its ``splits.parquet``; episodes are drawn from the classes of the test part.
        output: the folder to fill.

    Raises:
        UserError: the test part has too few classes, or a class has too few images.
    """
    frame = pd.read_parquet(items).assign(part=pd.read_parquet(splits)["part"])
    novel = frame[frame["part"] == "test"]
    options = spec["episodes"]
    arrays: dict[str, NDArray[np.int64]] = {}
    queries: dict[str, int] = {}
    for shot in options["shots"]:
        rng = np.random.default_rng(
            seed_for("episodes", dataset=spec["dataset"], seed=options["seed"], way=options["way"], shot=shot)
        )
        pools = {
            label: [group.index.to_numpy() for _, group in members.groupby("group")]
            for label, members in novel.groupby("label")
        }
        drawn = draw_episodes(pools, options["count"], options["way"], shot, options["queries"], rng)
        arrays |= {f"support_{shot}": drawn.support, f"query_{shot}": drawn.query}
        queries[str(shot)] = drawn.query.shape[2]
    with staged(output, last="episodes.json") as folder:
        np.savez_compressed(folder / "episodes.npz", allow_pickle=False, **arrays)
        checksum = {"episodes.npz": sha256_of(folder / "episodes.npz")}
        write_json(folder / "episodes.json", {**spec, "queries_per_class": queries, "sha256": checksum})


def draw_episodes(
    pools: Mapping[Any, list[NDArray[np.int64]]],
    count: int,
    way: int,
    shot: int,
    queries: int,
    rng: np.random.Generator,
) -> EpisodeSet:
    """Draws episodes in which no two images of a class are near-copies.

    Args:
        pools: for each class, its groups of near-copies, each an array of rows.
        count: how many episodes.
        way: classes per episode.
        shot: support images per class.
        queries: query images per class, at most; fewer when the smallest class has fewer groups left.
        rng: the only source of randomness.

    Raises:
        UserError: fewer classes than ``way``, or a class without a group left for a query.
    """
    classes = list(pools)
    if len(classes) < way:
        raise UserError(f"episodes.way: {way} is not allowed: the test part has {len(classes)} classes.")
    smallest = min(len(groups) for groups in pools.values())
    if smallest <= shot:
        raise UserError(f"episodes.shots: {shot} is not allowed: the smallest class has {smallest} distinct images.")
    taken = shot + min(queries, smallest - shot)
    rows = np.empty((count, way, taken), dtype=np.int64)
    for episode in range(count):
        for position, index in enumerate(rng.choice(len(classes), size=way, replace=False)):
            groups = pools[classes[index]]
            chosen = rng.choice(len(groups), size=taken, replace=False)
            rows[episode, position] = [rng.choice(groups[group]) for group in chosen]
    return EpisodeSet(support=rows[:, :, :shot], query=rows[:, :, shot:])


def load_episodes(path: Path) -> dict[int, EpisodeSet]:
    """Reads the episode sets of an ``episodes.npz`` by their number of shots."""
    with np.load(path) as arrays:
        shots = sorted(int(name.removeprefix("support_")) for name in arrays.files if name.startswith("support_"))
        return {shot: EpisodeSet(arrays[f"support_{shot}"], arrays[f"query_{shot}"]) for shot in shots}
