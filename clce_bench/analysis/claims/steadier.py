"""The claim that one side changes less than another along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from clce_bench.analysis.claims.compared import AlongAxis
from clce_bench.experiment.claims import Selector

if TYPE_CHECKING:
    import pandas as pd

    from clce_bench.analysis.contrasts import Contrast
    from clce_bench.analysis.summary_rows import Row


class Steadier(AlongAxis):
    """``first`` changes less than ``second`` from one end of ``over`` to the other."""

    kind: Literal["steadier"] = "steadier"
    second: Annotated[Selector, Field(min_length=1)]
    """The cells that they are compared with."""

    @property
    def sides(self) -> list[Selector]:
        """Both selectors."""
        return [self.first, self.second]

    def compare(self, *sides: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
        """Yields the second's absolute change minus the first's, on the values that both have."""
        from clce_bench.analysis.claim_judgement import where
        from clce_bench.analysis.paired_outcomes import RUN, contrast
        from clce_bench.analysis.summary_labels import metric_label
        from clce_bench.analysis.summary_rows import as_rows, matching

        first, second = sides
        for place, one in self.places(first):
            other = matching(second, place)
            for metric in self.metrics(as_rows(one), as_rows(other)):
                finished = [side.dropna(subset=[metric]) for side in (one, other)]
                both = set.intersection(*(set(side[self.over]) for side in finished))
                pair = [side[side[self.over].isin(both)] for side in finished]
                if len(both) < 2 or any(side.duplicated([self.over, *RUN]).any() for side in pair):
                    continue
                ends = [self._ends(side) for side in pair]
                own, others = (self._change(side, metric, at) for side, at in zip(pair, ends, strict=True))
                terms = [*others, *((-weight, cells) for weight, cells in own)]
                yield f"{where(place)}: {self._along(pair, ends)}, {metric_label(metric)}", contrast(terms, metric)

    def _ends(self, side: pd.DataFrame) -> tuple[Any, Any]:
        """Gives the smallest and the largest of numbers; of names the worst and the best by the validation part."""
        from pandas.api.types import is_numeric_dtype

        if is_numeric_dtype(side[self.over]):
            return side[self.over].min(), side[self.over].max()
        order = side.groupby(self.over)["validation"].mean().sort_values(kind="stable").index
        return order[0], order[-1]

    def _along(self, sides: list[pd.DataFrame], ends: list[tuple[Any, Any]]) -> str:
        from clce_bench.labels import loss_label

        changes = [f"from {start} to {end}" for start, end in ends]
        if changes[0] == changes[1]:
            return f"change along {self.over} {changes[0]}"
        names = [loss_label(side["loss"].iloc[0]) for side in sides]
        own = ", ".join(f"{name} {change}" for name, change in zip(names, changes, strict=True))
        return f"change along {self.over}, {own}"

    def _change(self, side: pd.DataFrame, metric: str, ends: tuple[Any, Any]) -> list[tuple[float, list[Row]]]:
        """Gives the terms of the absolute change from one end to the other."""
        from clce_bench.analysis.summary_rows import as_rows

        start, end = (side[side[self.over] == value] for value in ends)
        sign = 1.0 if end[metric].mean() >= start[metric].mean() else -1.0
        return [(sign, as_rows(end)), (-sign, as_rows(start))]
