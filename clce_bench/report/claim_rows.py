"""Claims as rows of the page: verdict, effect, a small picture, and what opens on demand."""

from typing import NamedTuple

from markupsafe import Markup

from clce_bench.analysis.verdicts import Finding, Verdict
from clce_bench.report.forest import Scale, forest, scale_of
from clce_bench.report.headline import effect_text, plus_minus
from clce_bench.report.page_tables import Link


class ClaimRow(NamedTuple):
    """A claim on the page.

    Attributes:
        verdict: with statement, paper and reason.
        kind: of verdict, a CSS class.
        effect: with its interval.
        visible: the difference that could have been shown.
        picture: of the same.
        facts: sentences about margin and size, where they are known.
        findings: a line per comparison.
        links: to the cells.
    """

    verdict: Verdict
    kind: str
    effect: str
    visible: str
    picture: Markup
    facts: list[str]
    findings: list[str]
    links: list[Link]


def claims_scale_of(verdicts: list[Verdict]) -> Scale:
    """Chooses the axis of all claims."""
    return scale_of(
        [
            value
            for verdict in verdicts
            for value in (verdict.effect, verdict.low, verdict.high, _known(verdict, "margin"), _known(verdict, "size"))
        ]
    )


def claim_rows(verdicts: list[Verdict], scale: Scale, directories: dict[str, str]) -> list[ClaimRow]:
    """Builds a row per claim.

    Args:
        verdicts: in the order of the experiment file.
        scale: the axis of their pictures.
        directories: of cells by name, relative to the page.
    """
    rows = []
    for verdict in verdicts:
        effect = effect_text(verdict.effect, verdict.low, verdict.high)
        margin, size = _known(verdict, "margin"), _known(verdict, "size")
        label = f"{verdict.verdict}: {effect} points" if verdict.effect is not None else ""
        picture = forest(scale, verdict.effect, verdict.low, verdict.high, margin=margin, size=size, label=label)
        links = [Link(cell, directories[cell]) for cell in verdict.cells if cell in directories]
        findings = [_finding(finding) for finding in verdict.findings]
        # "reproduced, smaller than claimed" and "equivalent: …" look like their first word.
        kind = verdict.verdict.partition(",")[0].partition(":")[0].replace(" ", "-")
        visible = plus_minus(verdict.smallest_visible)
        rows.append(ClaimRow(verdict, kind, effect, visible, picture, _facts(verdict), findings, links))
    return rows


def _known(verdict: Verdict, name: str) -> float | None:
    value = getattr(verdict, name, None)
    return None if value is None else float(value)


def _facts(verdict: Verdict) -> list[str]:
    told = {
        "margin": "A difference below {:g} points does not count (the band).",
        "size": "The paper states {:+g} points (the tick).",
    }
    return [text.format(value) for name, text in told.items() if (value := _known(verdict, name)) is not None]


def _finding(finding: Finding) -> str:
    seeds = f"{finding.seeds} seed{'s' * (finding.seeds != 1)}"
    shown = f", could have shown {plus_minus(finding.smallest_visible)}" if finding.smallest_visible else ""
    return f"{finding.setting}: {effect_text(finding.effect, finding.low, finding.high)} points, {seeds}{shown}"
