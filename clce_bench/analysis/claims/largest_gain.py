"""The claim that a gain reaches a value."""

from __future__ import annotations

from dataclasses import replace
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

    def level(self, alpha: float, judged: int) -> float:
        """Shares the claim's α among its comparisons."""
        return alpha / max(judged, 1)

    def decide(self, found: list[Finding], alpha: float) -> Verdict:
        """Asks whether the interval of the largest gain is within the tolerance around the value.

        The largest of several is looked for, so that all intervals must hold together: the true largest gain lies
        between the largest of their lower and the largest of their upper ends.
        """
        from clce_bench.analysis.claim_judgement import of_these_classes, verdict

        known = [one for one in found if not one.these_classes]
        if not known:
            return of_these_classes(self, found, alpha)
        low, high = self.value - self.tolerance, self.value + self.tolerance
        one = max(known, key=lambda each: each.effect)
        outcome: Outcome = "undecided"
        lows, highs = ([end for each in known if (end := getattr(each, name)) is not None] for name in ("low", "high"))
        if len(lows) == len(known):
            one = replace(one, low=max(lows), high=max(highs))
            if low <= max(lows) and max(highs) <= high:
                outcome = "reproduced"
            elif max(highs) < low or max(lows) > high:
                outcome = "contradicted"
        reason = f"The largest gain is {one.effect:+.2f} points ({one.setting}); claimed: {self.value:+.2f}."
        return verdict(self, outcome, reason, found, one, alpha)
