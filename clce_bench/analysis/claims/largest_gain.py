"""The claim that a gain reaches a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from clce_bench.analysis.claims.difference import Difference

if TYPE_CHECKING:
    from clce_bench.analysis.verdicts import Finding, Outcome, Verdict


class LargestGain(Difference):
    """The largest difference of ``first`` to ``second``, over the data sets and metrics, is ``value``."""

    kind: Literal["largest_gain"] = "largest_gain"  # type: ignore[assignment]
    value: float
    """In points."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How many points the largest gain may lie away from ``value``."""

    @property
    def tolerated(self) -> float:
        """A gain is one from 0 on."""
        return 0.0

    def decide(self, found: list[Finding], alpha: float) -> Verdict:
        """Asks whether the interval of the largest gain lies within the tolerance around the value."""
        from clce_bench.analysis.claim_judgement import of_these_classes, verdict

        known = [one for one in found if not one.these_classes]
        if not known:
            return of_these_classes(self, found, alpha)
        low, high = self.value - self.tolerance, self.value + self.tolerance
        one = max(known, key=lambda each: each.effect)
        outcome: Outcome = "undecided"
        if one.low is not None and one.high is not None:
            if low <= one.low and one.high <= high:
                outcome = "reproduced"
            elif one.high < low or one.low > high:
                outcome = "contradicted"
        reason = f"The largest gain is {one.effect:+.2f} points ({one.setting}); claimed: {self.value:+.2f}."
        return verdict(self, outcome, reason, found, one, alpha)
