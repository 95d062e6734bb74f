"""What the files of a cell from elsewhere must be like, so that report and tracking can read them."""

import csv
import zipfile
from pathlib import Path

import numpy as np

from clce_bench.records.record_models import parse_time

HISTORY = ("epoch", "time", "loss", "learning_rate", "validation", "seconds")


def check_history(path: Path) -> None:
    """Checks a ``history.csv``.

    Raises:
        ValueError: it has other columns, or a row of other values.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != HISTORY:
        raise ValueError(f"its columns are not {', '.join(HISTORY)}")
    for epoch, row in enumerate(rows, start=1):
        values = dict(zip(HISTORY, row, strict=True))
        parse_time(values.pop("time"))
        if values.pop("epoch") != str(epoch):
            raise ValueError(f"its row {epoch} is not of epoch {epoch}")
        for value in filter(None, values.values()):
            float(value)


def check_arrays(path: Path) -> None:
    """Checks an ``.npz`` without reading its arrays.

    Raises:
        ValueError: it is none, or it holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as pack:
            for name in pack.namelist():
                with pack.open(name) as file:
                    version = np.lib.format.read_magic(file)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    if read(file)[2].hasobject:
                        raise ValueError(f"{name} holds Python objects")
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"no arrays: {error}") from None
