"""The claim that the best value of an axis is at neither end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from clce_bench.analysis.claims.compared import AlongAxis

if TYPE_CHECKING:
    import pandas as pd

    from clce_bench.analysis.contrasts import Contrast


class Interior(AlongAxis):
    """Along ``over``, ``first`` is best neither at the one end nor at the other."""

    kind: Literal["interior"] = "interior"

    def compare(self, *sides: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
        """Yields the best inner value minus either end."""
        from clce_bench.analysis.claim_judgement import where
        from clce_bench.analysis.paired_outcomes import RUN, contrast
        from clce_bench.analysis.summary_labels import metric_label
        from clce_bench.analysis.summary_rows import as_rows

        (first,) = sides
        for place, members in self.places(first):
            for metric in self.metrics(as_rows(members)):
                cells = members.dropna(subset=[metric])
                levels = sorted(cells[self.over].unique())
                if len(levels) < 3 or cells.duplicated([self.over, *RUN]).any():
                    continue
                # The validation part chooses, so that the test part does not flatter the best of several.
                inside = cells[cells[self.over].isin(levels[1:-1])]
                best = inside.groupby(self.over)["validation"].mean().idxmax()
                for end in (levels[0], levels[-1]):
                    terms = [
                        (sign, as_rows(cells[cells[self.over] == level])) for sign, level in ((1.0, best), (-1.0, end))
                    ]
                    values = f"{self.over} {best:g} − {self.over} {end:g}"
                    yield f"{where(place)}: {values}, {metric_label(metric)}", contrast(terms, metric)
