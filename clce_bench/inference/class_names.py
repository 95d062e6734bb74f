"""Which classes a cell tells apart, found out without importing torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.data.prepared import rows_by_part
from clce_bench.experiment.cells import Cell


def classes_of(cell: Cell, inputs: Mapping[str, Path]) -> tuple[NDArray[np.int64], list[str]]:
    """Lists the labels of a cell's classes and their names, in the order of its logits.

    Args:
        cell: its specification.
        inputs: the files that it was made from, ``dataset`` and ``splits`` among them.
    """
    items = pd.read_parquet(inputs["dataset"].with_name("items.parquet"), columns=["label", "class"])
    train = items.iloc[rows_by_part(inputs["splits"], cell.split.fold, cell.split.testing)["train"]]
    labels = np.unique(train["label"])
    names = dict(zip(items["label"], items["class"], strict=True))
    return labels, [str(names[label]) for label in labels]
