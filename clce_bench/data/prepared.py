"""A data set as the ``dataset`` stage left it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clce_bench.files import read_json


class PreparedDataset:
    """Pixels, labels and groups, read when first asked for.

    Args:
        directory: what the ``dataset`` stage filled.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.description: dict[str, Any] = read_json(directory / "dataset.json")

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All images, uint8 (images, size, size, 3), mapped from disk."""
        pixels: NDArray[np.uint8] = np.load(self.directory / "images.npy", mmap_mode="r")
        return pixels

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row per image, in the order of ``pixels``: ``id``, ``label``, ``class``, ``group``."""
        return pd.read_parquet(self.directory / "items.parquet")

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        classes: list[str] = self.description["classes"]
        return classes
