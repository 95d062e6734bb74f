"""What became of a paper's claim, and the file that says so."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from clce_bench.analysis.decisions import Category
from clce_bench.files import read_json, write_json

Outcome = Category | Literal["not tested"]


@dataclass(frozen=True)
class Finding:
    """One comparison that speaks to a claim.

    Attributes:
        setting: where it was made, such as ``openmoji, batch 64``.
        effect: in points of accuracy, positive in the direction that the claim expects.
        low: lower end of the interval at confidence 1 − α, α being the claim's share of the page's 5 %.
        high: upper end.
        p: two-sided, against no effect (or against the tolerance), before any correction.
        seeds: how many seeds are behind it.
        cells: names of the cells behind it.
        outcome: what it says by itself.
        these_classes: whether it speaks of the novel classes of one split only, so that no verdict rests on it.
        smallest_visible: the true difference that it would have found four times in five, in points.
        seeds_needed: seeds that would show the margin; ``None`` if no number does, or if it cannot be known.
    """

    setting: str
    effect: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    cells: tuple[str, ...]
    outcome: Category = "undecided"
    these_classes: bool = False
    smallest_visible: float | None = None
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim.

    Attributes:
        claim: the claim's short name (``id`` in the experiment file).
        statement: what is claimed, in a sentence.
        paper: who claims it.
        place: where in the paper.
        verdict: a category of :func:`clce_bench.analysis.decisions.decide`, or ``not tested``.
        effect: of the finding that decides (the weakest, or the one that contradicts), in points; ``None`` without.
        low: lower end of its interval at confidence 1 − α.
        high: upper end.
        p: its two-sided p-value.
        seeds: how many seeds are behind the deciding finding.
        cells: names of all cells behind the findings.
        reason: why this verdict, in words.
        findings: every comparison made, one per setting.
        alpha: the claim's share of the page's error rate.
        margin: the smallest difference that matters, in points; ``None`` for theorems.
        size: what the paper states for this very setting, if that is known.
        smallest_visible: of the finding that decides.
        look: where seeds come in rounds, the look that decided, or the last; its part of the error rate is ``alpha``.
    """

    claim: str
    statement: str
    paper: str
    place: str
    verdict: Outcome
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    cells: tuple[str, ...]
    reason: str
    findings: tuple[Finding, ...] = ()
    alpha: float = 0.05
    margin: float | None = None
    size: float | None = None
    smallest_visible: float | None = None
    look: int | None = None


def write_verdicts(path: Path, verdicts: list[Verdict]) -> None:
    """Writes ``verdicts.json``, a list in the order of the experiment file."""
    write_json(path, [asdict(verdict) for verdict in verdicts])


def read_verdicts(path: Path) -> list[Verdict]:
    """Reads ``verdicts.json``."""
    found = []
    for entry in read_json(path):
        findings = tuple(Finding(**{**item, "cells": tuple(item["cells"])}) for item in entry.pop("findings"))
        found.append(Verdict(**{**entry, "cells": tuple(entry["cells"])}, findings=findings))
    return found
