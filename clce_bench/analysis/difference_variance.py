"""Where the variance of each difference to cross-entropy comes from."""

import numpy as np
import pandas as pd

from clce_bench.analysis.comparisons import Comparison
from clce_bench.analysis.contrasts import Contrast
from clce_bench.analysis.settings import distinct_labels
from clce_bench.analysis.summary_rows import PLACE
from clce_bench.analysis.variance_components import crossed_components


def variance_of_differences(found: list[Comparison]) -> pd.DataFrame:
    """Says where the variance of each mean difference to cross-entropy comes from.

    Args:
        found: the settings of a grid beside cross-entropy.

    Returns:
        Four rows per setting: the axes, ``setting`` (its label), ``component`` (``split``, ``seed``, ``unit`` for test
        images or episodes, ``rest``), ``variance`` (points²; it sums to that of the mean difference) and ``share``.
        The share of the split is known from two splits on.
    """
    label, table = distinct_labels([cell for one in found for cell in one.cells]), []
    for one in found:
        parts = _components(one.difference) if one.difference else {}
        place = {**{name: one.setting[name] for name in PLACE}, "setting": label(one.setting)}
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
