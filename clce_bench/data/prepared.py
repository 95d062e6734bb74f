"""A data set as the ``dataset`` stage left it, and its parts as the ``splits`` stage left them."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clce_bench.data.decode import DamagedImage, open_image
from clce_bench.errors import UserError
from clce_bench.files import read_json

TRAINING = POOL, LEAKED = ("train-pool", "train-pool and test")
"""Parts of a split that train or validate; the second one exists in leaky splits only (docs/audit.md)."""


class Division(NamedTuple):
    """What each image is for, arrays of (images,).

    Attributes:
        part: ``train-pool``, ``validation``, ``test`` or ``unused``; in a leaky split also ``train-pool and test``.
            Where parts test in turn, the pool trains and validates while another part tests, and ``test`` are images
            that ``images_per_class`` leaves nothing but testing.
        fold: the fold of the pool with which an image validates; −1 for images that never validate or train.
        test_fold: the part with which it tests, 0 where there is one test part; −1 for images that never test.
    """

    part: NDArray[Any]
    fold: NDArray[np.int64]
    test_fold: NDArray[np.int64]

    def rows(self, fold: int, test_fold: int = 0) -> dict[str, NDArray[np.int64]]:
        """Returns the rows of ``train``, ``validation`` and ``test`` where this fold validates and this part tests."""
        tested, validating = self.test_fold == test_fold, self.fold == fold
        pool = ((self.part == POOL) & ~tested) | (self.part == LEAKED)
        return {
            "train": np.flatnonzero(pool & ~validating),
            "validation": np.flatnonzero(pool & validating | (self.part == "validation")),
            "test": np.flatnonzero(tested),
        }


class PreparedDataset:
    """Pixels, labels and groups, read when first asked for.

    Args:
        directory: what the ``dataset`` stage filled.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.description: dict[str, Any] = read_json(directory / "dataset.json")

    def __reduce__(self) -> tuple[type["PreparedDataset"], tuple[Path]]:
        """Lets another process read the files for itself, not a copy of what this one has read."""
        return PreparedDataset, (self.directory,)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All images of a data set that is not large, uint8 (images, size, size, 3), mapped from disk."""
        pixels: NDArray[np.uint8] = np.load(self.directory / "images.npy", mmap_mode="r")
        return pixels

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row per image: ``id``, ``label``, ``class``, ``group``, ``part``; ``file`` if the images stay files."""
        return pd.read_parquet(self.directory / "items.parquet")

    @cached_property
    def files(self) -> list[str] | None:
        """The image files of a large data set; ``None`` when the images are in ``pixels``."""
        return self.items["file"].tolist() if "file" in self.items else None

    def image(self, row: int) -> Image.Image:
        """Returns an image, RGB: a square of the prepared size, or, from a file, as large as it was taken.

        Raises:
            UserError: the file is gone or damaged.
        """
        if self.files is None:
            return Image.fromarray(self.pixels[row])
        try:
            return open_image(Path(self.files[row]))
        except DamagedImage as error:
            raise UserError(f"{error}. Prepare the data set again.") from None

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        classes: list[str] = self.description["classes"]
        return classes


def read_division(splits: Path) -> Division:
    """Reads what each image is for.

    Args:
        splits: the ``splits.json``; ``splits.parquet`` is beside it.
    """
    frame = pd.read_parquet(splits.with_name("splits.parquet"), columns=list(Division._fields))
    return Division(*(frame[name].to_numpy() for name in Division._fields))


def rows_by_part(splits: Path, fold: int, test_fold: int = 0) -> dict[str, NDArray[np.int64]]:
    """Reads which images a cell trains on, validates with and is tested on.

    Args:
        splits: the ``splits.json``; ``splits.parquet`` is beside it.
        fold: the fold that validates; 0 where there is an official validation part.
        test_fold: the part that tests, ``Split.testing``; 0 where there is only one.

    Returns:
        Rows of ``train``, ``validation`` and ``test``.

    Raises:
        UserError: there is no such fold or part.
    """
    division = read_division(splits)
    last = division.fold.max()
    if fold > max(last, 0):
        reason = f"there are folds 0 to {last}" if last >= 0 else "the official validation part validates"
        raise UserError(f"split.fold: {fold} is not allowed: {reason}.")
    if test_fold > division.test_fold.max():
        raise UserError(
            f"split.test_fold: {test_fold} is not allowed: there are parts 0 to {division.test_fold.max()}."
        )
    return division.rows(fold, test_fold)
