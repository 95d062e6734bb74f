"""The claim that a theorem holds, which is computed without cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from clce_bench.experiment.claims import Claim

if TYPE_CHECKING:
    import pandas as pd

    from clce_bench.analysis.verdicts import Verdict


class Theorem(Claim):
    """``theorem`` holds."""

    kind: Literal["theorem"] = "theorem"
    theorem: Literal["tcl-positive-gradient", "tcl-negative-gradient"]

    def judge(self, summary: pd.DataFrame) -> Verdict:
        """Computes the theorem's smallest margin over random draws; the cells do not matter."""
        from clce_bench.analysis.claim_judgement import verdict
        from clce_bench.analysis.gradient_theorems import CHECKS, DRAWS

        margin = CHECKS[self.theorem]()
        reason = f"Computed, no cells: on {DRAWS:,} random anchors the smallest relative excess is {margin:.1e}."
        return verdict(self, "reproduced" if margin > 0 else "contradicted", reason, [])
