"""Differences between settings, run by run and image by image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.summary_labels import is_accuracy
from clce_bench.analysis.unit_outcomes import Outcomes, ratio_values, unit_outcomes

RUN = ["split_seed", "fold", "seed", "test_fold", "class_fold"]
"""What makes two cells of different settings a pair."""


def contrast(terms: Sequence[tuple[float, pd.DataFrame]], metric: str) -> Contrast:
    """Combines settings run by run.

    Args:
        terms: a weight and the cells of a setting, from the summary; no run occurs twice in a setting.
        metric: a column such as ``metric.top1``.

    Returns:
        The weighted sum on the runs that all settings have with a result; without runs when there are none.
    """
    scale = 100.0 if is_accuracy(metric) else 1.0
    weights, settings = [weight for weight, _ in terms], [_runs(rows, metric) for _, rows in terms]
    shared = sorted(set(settings[0]).intersection(*settings[1:]))
    found: dict[int, dict[tuple[int, int], dict[tuple[int, int], _Part]]] = {}
    for run in shared:
        members = [runs[run] for runs in settings]
        outcomes = [_outcomes(member, metric) for member in members]
        if len({len(one.values) for one in outcomes}) > 1:
            outcomes = [Outcomes(np.array([member.value]), np.ones(1)) for member in members]
        total = sum(weight * one.values for weight, one in zip(weights, outcomes, strict=True))
        split, fold, seed, *part = run
        summed = _Part(run, outcomes[0]._replace(values=scale * np.asarray(total)))
        found.setdefault(split, {}).setdefault((fold, seed), {})[part[0], part[1]] = summed
    whole = {split: _whole(runs) for split, runs in found.items()}
    used = [part.run for runs in whole.values() for run in runs for part in run]
    ratio = float(np.mean([settings[0][run].test_to_train for run in used])) if used else np.nan
    first = next((run for runs in whole.values() for run in runs), [])
    return Contrast(
        {split: _stitched(runs, by_class=metric.startswith("metric.balanced_")) for split, runs in whole.items()},
        {
            split: np.array([[part.outcomes.values.mean() for part in run] for run in runs])
            for split, runs in whole.items()
        },
        _numbered([part.outcomes.ways for part in first]),
        ratio,
        len({run[-1] for run in used}),
        tuple(sorted({runs[run].cell for runs in settings for run in used})),
    )


Run = tuple[int, int, int, int, int]
"""Values of :data:`RUN`."""


class _Member(NamedTuple):
    value: float
    directory: str
    cell: str
    test_to_train: float


class _Part(NamedTuple):
    run: Run
    outcomes: Outcomes


def _runs(rows: pd.DataFrame, metric: str) -> dict[Run, _Member]:
    columns = (rows[name].tolist() for name in (metric, "directory", "cell", "test_to_train"))
    runs = zip(*(rows[axis].tolist() for axis in RUN), strict=True)
    members = map(_Member, *columns)
    return {run: member for run, member in zip(runs, members, strict=True) if not pd.isna(member.value)}


def _outcomes(member: _Member, metric: str) -> Outcomes:
    return unit_outcomes(member.directory, metric) or Outcomes(np.array([member.value]), np.ones(1))


def _whole(runs: dict[tuple[int, int], dict[tuple[int, int], _Part]]) -> list[list[_Part]]:
    """Keeps the runs in which every part has tested, each as its parts in order."""
    parts = sorted({part for own in runs.values() for part in own})
    return [[own[part] for part in parts] for own in runs.values() if len(own) == len(parts)]


def _stitched(runs: list[list[_Part]], by_class: bool) -> NDArray[np.float64]:
    """Puts the units of all parts of a run side by side, (runs, units): each image is tested once.

    The classes of metrics by class are the same in every part.
    """
    rows = [[part.outcomes for part in run] for run in runs]
    if len({tuple(len(one.values) for one in row) for row in rows}) != 1:
        return np.array([[np.mean([one.values.mean() for one in row])] for row in rows])
    known = all(len(one.values) > 1 for one in rows[0])
    join = np.concatenate if known and not by_class else lambda parts: np.mean(parts, axis=0)
    table = np.stack([join([one.values for one in row]) for row in rows])
    return ratio_values(table, join([one.sizes for one in rows[0]]))


def _numbered(ways: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Numbers the classes of all parts, each of which has classes of its own, from 0 on."""
    found: list[NDArray[np.int64]] = []
    for own in ways:
        if own is None:
            return None
        found.append(np.unique(own, return_inverse=True)[1].reshape(own.shape) + (found[-1].max() + 1 if found else 0))
    return np.concatenate(found) if found else None
