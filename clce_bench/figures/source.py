"""What a figure is drawn from, and what drawing gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clce_bench.labels import setting_label

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure as Canvas
    from numpy.typing import NDArray


class Drawing(NamedTuple):
    """A finished figure.

    Attributes:
        canvas: what matplotlib saves.
        data: the numbers that it shows.
        caption: what it shows and how to read it, one paragraph.
    """

    canvas: Canvas
    data: pd.DataFrame
    caption: str


class Embedded(NamedTuple):
    """The test images as one cell's network sees them.

    Attributes:
        row: the cell's row of the summary.
        features: (images, d), in front of classifier and projection head.
        path: of the embeddings, beside the model.
    """

    row: dict[str, Any]
    features: NDArray[np.float32]
    path: Path

    @property
    def label(self) -> str:
        """Its loss and λ."""
        return setting_label(self.row["loss"], self.row["lambda"])


@dataclass(frozen=True)
class Source:
    """The cells of a figure.

    Attributes:
        rows: the cells, from the summary.
        history: a row per epoch of every cell.
        inputs: files by name; ``dataset``, ``splits`` and ``embeddings_N`` for kinds drawn from embeddings.
    """

    rows: pd.DataFrame
    history: pd.DataFrame
    inputs: dict[str, Path] = field(default_factory=dict)

    @property
    def seeds(self) -> str:
        """How many seeds a point stands for."""
        from clce_bench.analysis.summary_rows import AXES

        counts = self.rows.groupby(AXES, dropna=False)["seed"].nunique()
        low, high = int(counts.min()), int(counts.max())
        return f"{low} seed{'s' * (low != 1)}" if low == high else f"{low} to {high} seeds"

    def embedded(self) -> tuple[NDArray[np.str_], list[Embedded]]:
        """Reads how cells see the test images.

        Returns:
            The class of each test image, and their features in every cell that has finite ones.
        """
        import pandas as pd

        from clce_bench.data.prepared import rows_by_part

        found = []
        classes = pd.read_parquet(self.inputs["dataset"].parent / "items.parquet")["class"].to_numpy(dtype=str)
        paths = [path for name, path in self.inputs.items() if name.startswith("embeddings_")]
        # The test part is the same for all folds, and all cells have the same.
        shown = self.rows[self.rows["cell"] == paths[0].parent.name].iloc[0]
        test = rows_by_part(self.inputs["splits"], 0, int(max(shown["test_fold"], shown["class_fold"])))["test"]
        for path in paths:
            row = self.rows[self.rows["cell"] == path.parent.name]
            with np.load(path) as arrays:
                features = arrays["features"][np.isin(arrays["rows"], test)].astype(np.float32)
            if len(row) and np.isfinite(features).all():
                axes = {str(key): value for key, value in row.iloc[0].items()}
                found.append(Embedded(axes, features, path))
        return classes[test], found
