"""How often a page has a false verdict, by simulation of the claims of the default experiment as they are defined.

Every comparison of every claim is drawn with the truth that is asked for: differences of images from the mean squares
of seeds × test images, few-shot differences from whole tables of episodes. The code that judges real runs judges them.

    python benchmarks/verdicts.py
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from verdict_draws import CASES, CLASSES, FOLDS, UNITS, Drawn, Draws, Kind, draw

from clce_bench.analysis.claim_judgement import finding
from clce_bench.analysis.claims.compared import ComparedClaim
from clce_bench.analysis.claims.largest_gain import LargestGain
from clce_bench.analysis.decisions import REPRODUCED
from clce_bench.analysis.intervals import half_width
from clce_bench.analysis.power_report import pairs_to_come
from clce_bench.experiment.claims import PAGE_ALPHA, alpha_shares, packaged_claims, parse_claim
from clce_bench.planning.plan import load_plan
from clce_bench.seeds import seed_for

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "benchmarks"
FAR = 3.4
TRUTHS = (-0.5, 0.0, 0.5, 1.0, 2.0, FAR)
"""In points: the tolerance of "no worse" claims below zero, nothing, half the margin, the margin, and more."""
GAINS = (0.0, 0.5, 1.0, 2.0, 2.41, FAR, 4.41)
"""For the largest gain, claimed to be 3.41 ± 1: both ends too."""
PATTERNS = {"all": None, "one, others 0": 0.0, f"one, others {FAR:g}": FAR}
"""Whose truth it is: that of all comparisons of a claim, or of one of them."""


@dataclass
class Judged:
    """A claim with what is to be drawn for it."""

    claim: ComparedClaim
    alpha: float
    kinds: list[Kind]

    @property
    def judged(self) -> int:
        """How many of its comparisons count."""
        return sum(not kind.these_classes for kind in self.kinds)


def default_page() -> list[Judged]:
    """The claims of the default experiment, with every comparison that its cells will make."""
    plan = load_plan(ROOT / "config.yaml")
    claims = plan.experiment.claims
    page = []
    for claim, alpha in zip(claims, alpha_shares(claims), strict=True):
        if isinstance(claim, ComparedClaim):
            found = list(pairs_to_come(plan, claim))
            kinds = [Kind(one.runs, "-shot" in label, "-shot" in label and one.class_folds < 2) for label, one in found]
            page.append(Judged(claim, alpha, kinds))
    return page


def page_of_largest_gains() -> list[Judged]:
    """Both claims that a largest gain in transfer learning reaches 3.41 points, on eight data sets with five seeds."""
    names = ("clce-largest-gain-transfer", "schane-largest-gain-transfer")
    claims = [parse_claim(packaged_claims()[name]) for name in names]
    count = len(packaged_claims()[names[0]]["where"]["dataset"])
    shares = alpha_shares(claims)
    return [
        Judged(claim, alpha, [Kind(5, False, False)] * count)
        for claim, alpha in zip(claims, shares, strict=True)
        if isinstance(claim, ComparedClaim)
    ]


def false_verdicts(claim: ComparedClaim, truths: NDArray[np.float64]) -> set[str]:
    """Says which verdicts would be false where these are the true differences."""
    if isinstance(claim, LargestGain):
        apart = abs(truths.max() - claim.value) - claim.tolerance
        # At the very end of the tolerance neither is false.
        return {*(["reproduced"] if apart > 1e-9 else []), *(["contradicted"] if apart < 1e-9 else [])}
    false = set(REPRODUCED) if (truths <= -claim.tolerated).any() else set()
    false |= {"equivalent"} if (np.abs(truths) >= claim.margin).any() else set()
    return false | ({"contradicted"} if (truths >= -claim.tolerated).all() else set())


def pages(page: list[Judged], case: str, pools: dict[Any, Draws], count: int) -> Iterator[list[list[Drawn]]]:
    """Draws pages without any difference, for each claim its comparisons."""
    rng = np.random.default_rng(seed_for("pages of verdicts", case=case))
    widths: dict[Any, NDArray[np.float64]] = {}
    for _ in range(count):
        drawn = []
        for one in page:
            own = one.claim.level(one.alpha, one.judged)
            levels = {round(level, 9) for level in (own, 2 * own, one.alpha / one.judged, 0.05)}
            results = []
            for kind in one.kinds:
                pool = pools[kind, case]
                for level in levels - {key[1] for key in widths if key[0] == kind}:
                    widths[kind, level] = half_width(pool.ways, level / 2)
                index = rng.integers(len(pool.means))
                halves = {level: float(widths[kind, level][index]) for level in levels}
                results.append(Drawn(float(pool.means[index]), halves, kind.seeds, kind.these_classes))
            drawn.append(results)
        yield drawn


def false_share(page: list[Judged], drawn: list[list[list[Drawn]]], truth: float, others: float | None) -> Counter:
    """Counts pages with any false verdict, and the false verdicts.

    Args:
        page: the claims.
        drawn: from :func:`pages`.
        truth: in points.
        others: of all comparisons of a claim but one, where they differ.
    """
    counts: Counter = Counter()
    for number, results in enumerate(drawn):
        wrong = set()
        for one, comparisons in zip(page, results, strict=True):
            truths = np.full(len(comparisons), truth if others is None else others)
            truths[number % len(truths)] = truth
            moved = [
                Drawn(result.mean + by, result.halves, result.runs, result.these_classes)
                for result, by in zip(comparisons, truths.tolist(), strict=True)
            ]
            found = [finding(one.claim, "", each, one.alpha, one.judged) for each in moved]  # type: ignore[arg-type]
            outcome = one.claim.decide(found, one.alpha).verdict
            wrong |= {outcome} & false_verdicts(one.claim, truths)
        counts.update([*wrong, *(["any"] if wrong else [])])
    return counts


def simulate(
    page: list[Judged], truths: tuple[float, ...], patterns: list[str], repeats: int
) -> list[tuple[str, float, list[Counter]]]:
    """Gives for each pattern and truth the counts of each case."""
    kinds = {kind for one in page for kind in one.kinds}
    pools = {(kind, case): draw(kind, case) for kind in sorted(kinds) for case in CASES}
    drawn = {case: list(pages(page, case, pools, repeats)) for case in CASES}
    rows = []
    for pattern in patterns:
        for truth in truths:
            if truth != (others := PATTERNS[pattern]):
                rows.append((pattern, truth, [false_share(page, drawn[case], truth, others) for case in CASES]))
                click.echo(f"{pattern}, {truth}: {rows[-1][2]}", err=True)
    return rows


def table(rows: list[tuple[str, float, list[Counter]]], repeats: int) -> str:
    """Writes shares of pages with a false verdict as Markdown."""
    lines = ["| comparisons | truth (points) | " + " | ".join(CASES) + " |", "| --- | ---: |" + " ---: |" * len(CASES)]
    for pattern, truth, counts in rows:
        shown = [f"{100 * count['any'] / repeats:.1f} %" for count in counts]
        lines.append(f"| {pattern} | {truth:g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--repeats", default=2000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/verdicts.md."""
    default = default_page()
    found = {
        "default": simulate(default, TRUTHS, list(PATTERNS), repeats),
        "gains": simulate(page_of_largest_gains(), GAINS, list(PATTERNS)[:2], repeats),
    }
    worst = {name: max(c["any"] for _, _, counts in rows for c in counts) / repeats for name, rows in found.items()}
    comparisons = sum(len(one.kinds) for one in default)
    error = 100 * (PAGE_ALPHA * (1 - PAGE_ALPHA) / repeats) ** 0.5
    page = f"""# False verdicts

How many pages in a hundred have any false *reproduced* (smaller or not), *contradicted* or *equivalent*, where at most
{100 * PAGE_ALPHA:g} are allowed: {repeats:,} simulated pages per number, so that a true 5 scatters by {error:.1f} (one
standard error). {date.today()}.

## The default experiment

Its {len(default)} claims with their {comparisons} comparisons, margins, tolerances, shares of the error rate and
seeds, as `config.yaml` defines them; test images in {UNITS:,} groups, few-shot classes in {FOLDS} parts of {CLASSES}.
The truth is that of all comparisons of each claim, or of one of them while the others have another. The most is
**{100 * worst["default"]:.1f} %**.

{table(found["default"], repeats)}

*As measured*: variances as those of CLCE − CE on OpenMoji. *Seeds matter*: those of seeds ten times as large. *Narrow*:
intervals a fifth as wide, so that more is decided. Comparisons are drawn independently of each other.

## Largest gains

Two claims that the largest gain over eight data sets reaches 3.41 points, within 1 point, five seeds each. The most is
**{100 * worst["gains"]:.1f} %**.

{table(found["gains"], repeats)}

Simulated by `python benchmarks/verdicts.py`.
"""
    (OUTPUT / "verdicts.md").write_text(page)


if __name__ == "__main__":
    main()
