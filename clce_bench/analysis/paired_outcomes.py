"""Differences between settings, run by run and image by image."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.summary_labels import is_accuracy
from clce_bench.analysis.summary_rows import Row, known
from clce_bench.analysis.unit_outcomes import Outcomes, ratio_values, unit_outcomes

RUN = ["split_seed", "fold", "seed", "test_fold", "class_fold"]
"""What makes two cells of different settings a pair."""
Run = tuple[int, int, int, int, int]
"""Values of :data:`RUN`."""
run_of: Callable[[Row], Run] = itemgetter(*RUN)
"""Gives the run that a cell belongs to."""


def contrast(terms: Sequence[tuple[float, list[Row]]], metric: str) -> Contrast:
    """Combines settings run by run.

    Args:
        terms: a weight and the cells of a setting; no run occurs twice in a setting.
        metric: a column such as ``metric.top1``.

    Returns:
        The weighted sum on the runs that all settings have with a result; without runs when there are none.
    """
    scale = 100.0 if is_accuracy(metric) else 1.0
    weights = [weight for weight, _ in terms]
    settings = [{run_of(cell): cell for cell in known(cells, metric)} for _, cells in terms]
    shared = sorted(set(settings[0]).intersection(*settings[1:]))
    found: dict[int, dict[tuple[int, int], dict[tuple[int, int], _Part]]] = {}
    for run in shared:
        members = [runs[run] for runs in settings]
        outcomes = [_outcomes(member, metric) for member in members]
        if len({len(one.values) for one in outcomes}) > 1:
            outcomes = [_mean_only(member, metric) for member in members]
        total = np.asarray(sum(weight * one.values for weight, one in zip(weights, outcomes, strict=True)))
        split, fold, seed, *part = run
        summed = _Part(run, Outcomes(scale * total, outcomes[0].sizes, outcomes[0].ways))
        found.setdefault(split, {}).setdefault((fold, seed), {})[part[0], part[1]] = summed
    whole = {split: complete for split, runs in found.items() if (complete := _whole(runs))}
    used = [part.run for runs in whole.values() for run in runs for part in run]
    ratio = float(np.mean([settings[0][run]["test_to_train"] for run in used])) if used else np.nan
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
        tuple(sorted({runs[run]["cell"] for runs in settings for run in used})),
    )


class _Part(NamedTuple):
    run: Run
    outcomes: Outcomes


def _outcomes(cell: Row, metric: str) -> Outcomes:
    return unit_outcomes(cell["directory"], metric) or _mean_only(cell, metric)


_ONE = np.ones(1)


def _mean_only(cell: Row, metric: str) -> Outcomes:
    return Outcomes(np.array([cell[metric]]), _ONE)


def _whole(runs: dict[tuple[int, int], dict[tuple[int, int], _Part]]) -> list[list[_Part]]:
    """Keeps the runs in which every part has tested, each as its parts in order."""
    parts = sorted({part for own in runs.values() for part in own})
    return [[own[part] for part in parts] for own in runs.values() if len(own) == len(parts)]


def _stitched(runs: list[list[_Part]], by_class: bool) -> NDArray[np.float64]:
    """Puts the units of all parts of a run side by side, (runs, units): each image is tested once.

    The classes of metrics by class are the same in every part.
    """
    rows = [[part.outcomes for part in run] for run in runs]
    units = {tuple(len(one.values) for one in row) for row in rows}
    mean_only = {count == 1 for counts in units for count in counts}
    if len(units) > 1 or len(mean_only) > 1:
        return np.array([[np.mean([one.values.mean() for one in row])] for row in rows])
    join = np.concatenate if mean_only == {False} and not by_class else lambda parts: np.mean(parts, axis=0)
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
