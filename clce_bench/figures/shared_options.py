"""Options that several kinds of figures have: metrics, and classes whose images are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from clce_bench.errors import unknown
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.figure_options import Figure
from clce_bench.experiment.strict_model import Name
from clce_bench.planning.figure_cells import embedded_cells

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PANELS = 8
"""How many cells' embeddings one figure shows at most."""


class MetricFigure(Figure):
    """A figure that shows metrics."""

    metrics: list[Name] = []
    """Metrics such as ``top1``; the accuracies that the cells have when not given."""

    one_metric: ClassVar[bool] = False
    """Whether it shows one only."""

    @model_validator(mode="after")
    def _few_metrics(self) -> Self:
        if self.one_metric and len(self.metrics) > 1:
            raise ValueError(f"metrics: {self.kind} shows one; give each a figure with a name of its own.")
        return self

    def columns(self, rows: pd.DataFrame) -> list[str]:
        """Lists the columns of the summary that it shows, if these cells have them."""
        from clce_bench.analysis.summary_rows import chosen_metrics

        return chosen_metrics(rows, self.metrics)


class Choice(NamedTuple):
    """Classes that a figure shows.

    Attributes:
        names: of those that there are.
        missing: a sentence for each that there is not.
    """

    names: list[str]
    missing: list[str]


class ClassFigure(Figure):
    """A figure of test images by class, one panel or column per loss."""

    classes: Annotated[list[str], Field(max_length=20)] = []
    """Classes that are shown; when not given, the first twenty (``tsne``), or the two that the first network sets apart
    best and worst (``cosine_distributions``)."""

    from_embeddings: ClassVar[bool] = True

    def lacking(self, cells: list[Cell]) -> str:
        """Needs cross-entropy and another loss that can be set side by side."""
        panels = embedded_cells(cells)
        if "ce" not in {cell.loss_name for cell in panels} or len(panels) < 2:
            return "it needs cross-entropy and another loss on one data set with one batch size and seed."
        if len(panels) > PANELS:
            return f"it shows {PANELS} settings at most, these are {len(panels)}; choose with where."
        return ""

    def chosen(self, present: NDArray[np.str_], most: int) -> Choice:
        """Chooses the classes.

        Args:
            present: the class of each test image.
            most: how many are shown when none is named.
        """
        known = np.unique(present).tolist()
        names = [name for name in self.classes if name in known] or known[:most]
        missing = [unknown("a class of the test part", name, known) for name in self.classes if name not in known]
        return Choice(names, missing)
