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
    """Which one."""

    @property
    def has_error(self) -> bool:
        """What is computed has no error by chance."""
        return False

    def judge(self, summary: pd.DataFrame, alpha: float) -> Verdict:
        """Computes the theorem's smallest margin over random draws; the cells do not matter."""
        from clce_bench.analysis.claim_judgement import verdict
        from clce_bench.analysis.gradient_theorems import CHECKS, DRAWS

        margin = CHECKS[self.theorem]()
        reason = (
            f"For our implementation, computed without cells: on {DRAWS:,} random anchors the smallest relative excess "
            f"is {margin:.1e}."
        )
        return verdict(self, "reproduced" if margin > 0 else "contradicted", reason, [])
