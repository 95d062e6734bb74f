"""What a loss reaches with how many trials: the expected best of n, in closed form."""

from itertools import groupby
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clce_bench.analysis.settings import settings_of
from clce_bench.analysis.summary_labels import is_accuracy
from clce_bench.analysis.summary_rows import PLACE, Row, as_rows
from clce_bench.labels import loss_label


def chances_of_best(trials: int) -> NDArray[np.float64]:
    """Computes how likely each trial is the best of n that are drawn without replacement, (n − 1, rank from worst).

    The trial of rank i is when it is drawn and the others are among the i − 1 below (Dodge et al., Show Your Work,
    EMNLP 2019, with replacement; without: Tang et al., ACL 2020).

    Args:
        trials: how many there are.
    """
    count = range(1, trials + 1)
    return np.array([[comb(rank - 1, n - 1) / comb(trials, n) for rank in count] for n in count])


def expected_best(validation: ArrayLike, result: ArrayLike | None = None) -> NDArray[np.float64]:
    """Computes the expected result of the trial that validation prefers among 1, 2, … of them.

    Args:
        validation: of each trial, (trials,).
        result: of each, the validation accuracy itself when not given; of equals each is as likely to be preferred.

    Returns:
        By the number of trials, (trials,).
    """
    table = pd.DataFrame({"validation": validation, "result": validation if result is None else result})
    table["result"] = table.groupby("validation")["result"].transform("mean")
    return np.asarray(chances_of_best(len(table)) @ table.sort_values("validation")["result"].to_numpy())


def by_budget(rows: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """Computes what each loss reaches with 1, 2, … trials.

    Args:
        rows: cells of the trials, from the summary: a trial is a setting of a loss, over its seeds and folds.
        metric: a column that says what the trials reach on the test part; ``None`` if they were not measured there.

    Returns:
        A row per place, loss and number of ``trials``: ``validation``, the expected best, ``spread``, its standard
        deviation over which trials are drawn, and ``test`` of the one that validation prefers, in per cent. A trial
        that diverged reaches nothing; one that has not run does not count.
    """
    found = []
    for _, members in rows.groupby([*PLACE, "loss"], dropna=False):
        trials = np.array([trial for _, cells in settings_of(as_rows(members)) if (trial := _trial(cells, metric))])
        validation, test = trials.reshape(-1, 2).T
        best = expected_best(validation)
        spread = np.sqrt(np.maximum(expected_best(validation**2) - best**2, 0))
        table = pd.DataFrame({"trials": range(1, len(trials) + 1), "validation": best, "spread": spread})
        if metric is not None:
            table["test"] = expected_best(validation, test)
        found.append(members[[*PLACE, "loss"]].head(1).merge(table, how="cross"))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _trial(cells: list[Row], metric: str | None) -> tuple[float, float] | None:
    if any(cell["status"] == "diverged" for cell in cells):
        return 0.0, 0.0
    validation, result = (
        float(np.mean([cell[name] for cell in cells])) for name in ("validation", metric or "validation")
    )
    scale = 100 if metric is None or is_accuracy(metric) else 1
    return None if np.isnan([validation, result]).any() else (100 * validation, scale * result)


def leaders(table: pd.DataFrame, column: str) -> str:
    """Says which loss is ahead with how many trials, such as ``CE up to 2 trials, CLCE from 3 on``.

    Args:
        table: of one place, from :func:`by_budget`.
        column: ``validation`` or ``test``.
    """
    table = table.reset_index(drop=True)
    shared = table[table["trials"] <= table.groupby("loss")["trials"].max().min()]
    winners = shared.loc[shared.groupby("trials")[column].idxmax()]
    runs = [(loss, list(own)) for loss, own in groupby(winners[["loss", "trials"]].to_numpy().tolist(), lambda x: x[0])]
    if len(runs) == 1:
        return f"{loss_label(runs[0][0])} with any number of trials"
    parts = []
    for place, (loss, own) in enumerate(runs):
        first, last = own[0][1], own[-1][1]
        where = f"{first} to {last}" if first < last else f"{first}"
        parts.append(f"{loss_label(loss)} with {where if place < len(runs) - 1 else f'{first} or more'}")
    return ", ".join(parts) + " trials"
