"""Where the variance of each difference to cross-entropy comes from."""

import numpy as np
import pandas as pd

from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.settings import distinct_labels, with_baselines
from clce_bench.analysis.summary_rows import PLACE, as_rows
from clce_bench.analysis.variance_components import crossed_components


def variance_of_differences(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Says where the variance of each mean difference to cross-entropy comes from.

    Args:
        rows: cells of a grid, from the summary.
        metric: a column such as ``metric.top1``.

    Returns:
        Four rows per setting: the axes, ``setting`` (its label), ``component`` (``split``, ``seed``, ``unit`` for test
        images or episodes, ``rest``), ``variance`` (points²; it sums to that of the mean difference) and ``share``.
        The share of the split is known from two splits on.
    """
    cells, table = as_rows(rows), []
    label = distinct_labels(cells)
    for setting, own, baseline in with_baselines(cells, metric):
        parts = _components(contrast([(1.0, own), (-1.0, baseline)], metric)) if baseline else {}
        place = {**{name: setting[name] for name in PLACE}, "setting": label(setting)}
        total = sum(parts.values())
        for component, variance in parts.items():
            share = variance / total if total > 0 else np.nan
            table.append({**place, "component": component, "variance": variance, "share": share})
    columns = [*PLACE, "setting", "component", "variance", "share"]
    return pd.DataFrame(table, columns=columns)


def _components(difference: Contrast) -> dict[str, float]:
    """Gives the components of the variance of the mean over all splits; none where seeds and units are too few."""
    tables = [table for table in difference.tables.values() if min(table.shape) > 1]
    if not tables:
        return {}
    within = np.mean([crossed_components(table) for table in tables], axis=0)
    between = float(np.var([table.mean() for table in tables], ddof=1)) if len(tables) > 1 else 0.0
    split = max(between - float(within.sum()), 0)
    names = ("split", "seed", "unit", "rest")
    return dict(zip(names, (np.array([split, *within]) / len(tables)).tolist(), strict=True))
