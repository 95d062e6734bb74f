"""What kinds of claims share that cells judge: selecting cells, comparing them, a verdict on the comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from clce_bench.experiment.claims import Claim, Selector, check_axis
from clce_bench.experiment.strict_model import as_list

if TYPE_CHECKING:
    import pandas as pd

    from clce_bench.analysis.contrasts import Contrast
    from clce_bench.analysis.summary_rows import Row
    from clce_bench.analysis.verdicts import Finding, Verdict


class ComparedClaim(Claim):
    """A claim that is judged by comparisons of cells."""

    first: Annotated[Selector, Field(min_length=1)]
    """The cells of which the claim says something, by axis: ``{loss: clce, lambda: 0.9}``."""
    where: Selector = {}
    """Holds for both sides."""
    grids: Annotated[list[str], BeforeValidator(as_list)] = []
    """Grids whose cells speak to it; all without hazards when not given."""
    metric: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    """Names in ``metrics.json``; each that both sides have is a comparison of its own."""

    @field_validator("first", "second", "where", check_fields=False)
    @classmethod
    def _known_axes(cls, selector: Selector) -> Selector:
        for axis in selector:
            check_axis(axis)
        return selector

    margin: Annotated[float, Field(ge=0)] = 1.0
    """The smallest difference that matters, in points."""
    size: float | None = None
    """In points, where the paper states a value for this very setting."""

    @property
    def sides(self) -> list[Selector]:
        """The selectors of what is compared."""
        return [self.first]

    def judge(self, summary: pd.DataFrame, alpha: float) -> Verdict:
        """Judges the claim by the cells of an experiment.

        Args:
            summary: a row per cell.
            alpha: its share of the page's error rate.
        """
        from clce_bench.analysis.claim_judgement import finding, hazards_in, not_tested

        rows = self.rows(summary)
        for side, selector in zip(self.cells(rows), self.sides, strict=True):
            if side.empty:
                axes = {**self.where, **selector}.items()
                wanted = ", ".join(f"{axis} {' or '.join(map(str, values))}" for axis, values in axes)
                return not_tested(self, f"No cell of this experiment has {wanted}.")
        pairs = [(label, result) for label, result in self.compare(*self.cells(rows)) if result.runs]
        if not pairs:
            return not_tested(self, f"No results yet, or none that can be compared{self.along}.")
        judged = sum(not result.these_classes for _, result in pairs)
        verdict = self.decide([finding(self, label, result, alpha, judged) for label, result in pairs], alpha)
        hazards = hazards_in(rows.loc[rows["cell"].isin(verdict.cells), "hazards"])
        notes = [f"With hazards: {hazards}." if hazards else "", self.caveat]
        return replace(verdict, reason=" ".join(filter(None, [verdict.reason, *notes])))

    def rows(self, summary: pd.DataFrame) -> pd.DataFrame:
        """Returns the cells that may speak to the claim."""
        from clce_bench.analysis.claim_judgement import select

        rows = select(summary, self.where)
        if self.grids:
            return rows[[not set(self.grids).isdisjoint(names.split()) for names in rows["grids"]]]
        return rows[rows["hazards"] == ""]

    def cells(self, rows: pd.DataFrame) -> list[pd.DataFrame]:
        """Returns the cells of each side."""
        from clce_bench.analysis.claim_judgement import select

        return [select(rows, selector) for selector in self.sides]

    @property
    def tolerated(self) -> float:
        """How many points below 0 still count as what is claimed."""
        return 0.0

    @property
    def along(self) -> str:
        """Says in messages along what settings are compared, if along anything."""
        return ""

    def compare(self, *sides: pd.DataFrame) -> Iterator[tuple[str, Contrast]]:
        """Yields each comparison that speaks to the claim, with a label; positive is what the claim expects.

        Args:
            sides: the cells of each side, in the order of :attr:`sides`.
        """
        raise NotImplementedError

    def level(self, alpha: float, judged: int) -> float:
        """Gives the level of the interval of each comparison: the claim's, as all must agree.

        Args:
            alpha: the claim's share of the page's error rate.
            judged: how many comparisons count.
        """
        return alpha

    def decide(self, found: list[Finding], alpha: float) -> Verdict:
        """Turns the comparisons, at least one, into a verdict."""
        from clce_bench.analysis.claim_judgement import all_agree

        return all_agree(self, found, alpha)

    def metrics(self, *sides: list[Row]) -> list[str]:
        """Lists the claim's metrics that all sides have, as columns of the summary."""
        from clce_bench.analysis.summary_rows import known

        names = [f"metric.{name}" for name in self.metric]
        return [name for name in names if all(known(side, name) for side in sides)]


class AlongAxis(ComparedClaim):
    """A claim about how results change along an axis."""

    over: str
    """The axis."""

    @field_validator("over")
    @classmethod
    def _known_axis(cls, axis: str) -> str:
        check_axis(axis)
        return axis

    @property
    def along(self) -> str:
        """Says along which axis."""
        return f" along {self.over}"

    def places(self, rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Yields cells that share all axes of a place but this one."""
        from clce_bench.analysis.claim_judgement import PLACE

        shared = [axis for axis in PLACE if axis != self.over]
        for values, members in rows.groupby(shared, dropna=False):
            yield dict(zip(shared, values, strict=True)), members
