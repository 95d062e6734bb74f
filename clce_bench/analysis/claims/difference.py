"""The claim that one side is above another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from clce_bench.analysis.claims.compared import ComparedClaim
from clce_bench.experiment.claims import Selector

if TYPE_CHECKING:
    import pandas as pd

    from clce_bench.analysis.contrasts import Contrast


class Difference(ComparedClaim):
    """``first`` is above ``second`` wherever both are."""

    kind: Literal["difference"] = "difference"
    second: Annotated[Selector, Field(min_length=1)]
    """The cells that they are compared with."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How many points ``first`` may be below ``second``."""

    @property
    def sides(self) -> list[Selector]:
        """Both selectors."""
        return [self.first, self.second]

    @property
    def tolerated(self) -> float:
        """How many points below 0 still count as what is claimed."""
        return self.tolerance

    def compare(self, *sides: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
        """Yields first minus second for each setting of both at one place, and each metric."""
        from clce_bench.analysis.claim_judgement import PLACE, where
        from clce_bench.analysis.paired_outcomes import contrast
        from clce_bench.analysis.settings import distinct_labels, grouped, settings_of
        from clce_bench.analysis.summary_labels import metric_label
        from clce_bench.analysis.summary_rows import as_rows

        first, second = map(as_rows, sides)
        if not self.metrics(first, second):
            return  # Nothing has run yet: looking at each setting would find nothing either, in seconds.
        # Two contrastive losses are compared at equal λ; cross-entropy has none.
        shared = PLACE if all(cell["lambda"] > 0 for cell in second) else [axis for axis in PLACE if axis != "lambda"]
        rivals, name, name_of_rival = grouped(second, shared), distinct_labels(first), distinct_labels(second)
        for setting, one in settings_of(first):
            for rival, other in settings_of(rivals.get(tuple(setting[axis] for axis in shared), [])):
                for metric in self.metrics(one, other):
                    names = f"{name(setting)} − {name_of_rival(rival)}"
                    label = f"{where(setting)}: {names}, {metric_label(metric)}"
                    yield label, contrast([(1, one), (-1, other)], metric)
