"""Verdicts in rounds of seeds: what is decided at which look, and which settings need more seeds.

Everything follows from the table of cells: each time, all rounds are gone through again from the first, each on the
cells that it had. So a record of them can be lost, and a verdict is always that of the look that decided it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from clce_bench.analysis.claims.compared import AlongAxis, ComparedClaim
from clce_bench.analysis.claims.largest_gain import LargestGain
from clce_bench.analysis.power import seeds_can_decide, spread_of
from clce_bench.analysis.spending import levels
from clce_bench.analysis.summary_rows import AXES, hyperparameter_columns
from clce_bench.analysis.verdicts import Verdict
from clce_bench.experiment.claims import Claim, alpha_shares
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.seed_rounds import SeedRounds
from clce_bench.planning.plan import Plan
from clce_bench.planning.rounds_record import Asked, schedule_of

FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Look:
    """What was seen of one claim at one look.

    Attributes:
        look: from 1 on.
        seeds: that the grids with rounds had then.
        claim: the claim's short name.
        verdict: at this look.
        effect: of the finding that decides, in points.
        low: lower end of its interval at the look's level.
        high: upper end.
        alpha: what the look spends of the claim's error rate.
        ends: why no more seeds are asked for; empty where they are.
        added: names of the cells that are asked for because of it.
    """

    look: int
    seeds: int
    claim: str
    verdict: str
    effect: float | None
    low: float | None
    high: float | None
    alpha: float
    ends: str = ""
    added: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rounds:
    """What came of all looks so far.

    Attributes:
        verdicts: one per claim, in their order; of the look that decided it, otherwise of the last.
        looks: one per claim and look.
        asked: cells beyond the first round, and whether any cell is still to be trained.
    """

    verdicts: list[Verdict]
    looks: list[Look]
    asked: Asked


def judge_in_rounds(experiment: Experiment, summary: pd.DataFrame) -> Rounds:
    """Judges the claims of an experiment, and says which cells are needed to judge them further.

    Args:
        experiment: its grids say how many seeds a round has; without that claims are judged once, by all cells.
        summary: a row per cell: those asked for so far, or all that there may ever be, finished or not.
    """
    shares = alpha_shares(experiment.claims)
    schedule = schedule_of(experiment)
    if schedule is None:
        once = [claim.judge(summary, alpha) for claim, alpha in zip(experiment.claims, shares, strict=True)]
        return Rounds(once, [], Asked(open=False))
    table = _Table(experiment, summary, schedule)
    watched = [n for n, claim in enumerate(experiment.claims) if table.grows(claim)]
    alphas = {n: levels(shares[n], schedule.counts) for n in watched}
    verdicts: dict[int, Verdict] = {}
    looks: list[Look] = []
    for number, count in enumerate(schedule.counts, 1):
        rows, complete = table.rows, table.finished
        wanted: dict[int, tuple[str, ...]] = {}
        for n in watched:
            claim, level = experiment.claims[n], alphas[n][number - 1]
            verdict = claim.judge(rows, level)
            ends = _end(claim, verdict, rows, max(alphas[n])) if complete else "not all cells have run"
            if not ends:
                wanted[n] = table.next_cells(claim, verdict, [*schedule.counts, count][number])
                ends = "" if wanted[n] else "the last seeds are there"
            told = (
                f"Look {number} of at most {len(schedule.counts)}, {count} seeds, level {level:.2g} of {shares[n]:.2g}"
            )
            reason = f"{verdict.reason} {told}{f': {ends}' if ends else ''}."
            verdicts[n] = replace(verdict, reason=reason, look=number)
            seen = (verdict.claim, verdict.verdict, verdict.effect, verdict.low, verdict.high, level)
            if complete:
                looks.append(Look(number, count, *seen, ends, wanted.get(n, ())))
        watched = [n for n in watched if wanted.get(n)]
        if not watched:
            break
        table.add({cell for n in watched for cell in wanted[n]})
    for n, claim in enumerate(experiment.claims):
        if n not in verdicts:
            verdicts[n] = claim.judge(table.rows, shares[n])
    asked = Asked(frozenset(table.added), open=not table.finished)
    return Rounds([verdicts[n] for n in range(len(experiment.claims))], looks, asked)


def last_levels(experiment: Experiment, summary: pd.DataFrame) -> list[float]:
    """Lists the level at which each claim is judged by all the seeds that there may be.

    Args:
        experiment: the experiment.
        summary: a row per cell that there may ever be.
    """
    shares, schedule = alpha_shares(experiment.claims), schedule_of(experiment)
    if schedule is None:
        return shares
    table = _Table(experiment, summary, schedule)
    pairs = zip(experiment.claims, shares, strict=True)
    return [levels(share, schedule.counts)[-1] if table.grows(claim) else share for claim, share in pairs]


class Cells(NamedTuple):
    """How many cells of an experiment with rounds are asked for, and how many there may ever be."""

    asked: int
    most: int
    open: bool


def cells_of_rounds(plan: Plan) -> Cells | None:
    """Counts the cells of an experiment with rounds; ``None`` without."""
    if schedule_of(plan.experiment) is None:
        return None
    return Cells(len(plan.cells), len(plan.whole.cells), plan.deciding)


def _end(claim: Claim, verdict: Verdict, rows: pd.DataFrame, alpha: float) -> str:
    """Says why a claim asks for no more seeds, however many there could be; empty where it does."""
    if verdict.verdict != "undecided":
        return "nothing to compare" if verdict.verdict == "not tested" else "decided"
    known = {one.setting: one for one in verdict.findings if not one.these_classes}
    undecided = {setting for setting, one in known.items() if one.outcome == "undecided"}
    if not known:
        return "more seeds say nothing of other classes"
    if not undecided and not isinstance(claim, LargestGain):
        return "its comparisons are decided, and differ"
    if isinstance(claim, ComparedClaim) and not isinstance(claim, LargestGain):
        for setting, result in claim.compare(*claim.cells(claim.rows(rows))):
            spread = spread_of(result) if setting in undecided else None
            effect = result.interval.mean
            if spread and not seeds_can_decide(spread, effect, claim.margin, claim.tolerated, alpha):
                return f"no number of seeds can decide it, since test images are the limit: {setting}"
    return ""


class _Table:
    """The cells of a summary, of which some come only with a round."""

    def __init__(self, experiment: Experiment, summary: pd.DataFrame, schedule: SeedRounds) -> None:
        grids = {grid.name for grid in experiment.grids if isinstance(grid.seed, SeedRounds)}
        names = summary["grids"].str.split().map(set)
        self.growing = [not own.isdisjoint(grids) for own in names]
        anyway = (summary["seed"] < schedule.first) | pd.Series([not own <= grids for own in names], summary.index)
        keys = [*AXES, *hyperparameter_columns(summary), "split_seed", "fold"]
        self.summary = summary.assign(setting=summary.groupby(keys, dropna=False, sort=False).ngroup())
        self.present = anyway
        self.anyway = set(summary.loc[anyway, "cell"])

    @property
    def rows(self) -> pd.DataFrame:
        """The cells so far."""
        rows: pd.DataFrame = self.summary[self.present].drop(columns="setting")
        return rows

    @property
    def finished(self) -> bool:
        """Whether all cells so far have run."""
        return bool(self.rows["status"].isin(FINISHED).all())

    @property
    def added(self) -> set[str]:
        """Names of the cells so far that only a round added."""
        return set(self.rows["cell"]) - self.anyway

    def grows(self, claim: Claim) -> bool:
        """Says whether rounds may add cells to what a claim compares."""
        if not isinstance(claim, ComparedClaim):
            return False
        return any(len(side) for side in claim.cells(claim.rows(self.summary[self.growing])))

    def next_cells(self, claim: Claim, verdict: Verdict, count: int) -> tuple[str, ...]:
        """Names the cells that a claim gets with the next round: whole seeds, over all parts that test.

        Args:
            claim: the claim. One that chooses among the values of an axis compares all of them.
            verdict: names the cells behind it.
            count: seeds after the next round.
        """
        compared = set(verdict.cells)
        if isinstance(claim, AlongAxis):
            compared |= {name for side in claim.cells(claim.rows(self.rows)) for name in side["cell"]}
        settings = set(self.summary.loc[self.summary["cell"].isin(compared), "setting"])
        new = self.summary["setting"].isin(settings) & (self.summary["seed"] < count) & ~self.present
        return tuple(sorted(self.summary.loc[new, "cell"]))

    def add(self, cells: set[str]) -> None:
        """Adds cells to those so far."""
        self.present = self.present | self.summary["cell"].isin(cells)
