"""Claims as rows of the page: verdict, effect, a small picture, and what opens on demand."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from markupsafe import Markup

from clce_bench.analysis.verdicts import Finding, Verdict
from clce_bench.report.cells_behind import told_cells
from clce_bench.report.forest import Scale, forest, scale_of
from clce_bench.report.headline import effect_text, plus_minus


class FindingRow(NamedTuple):
    """A comparison that speaks to a claim.

    Attributes:
        setting: what was compared, and where.
        metric: in which it was.
        losses: of its cells, as papers write them.
        effect: with its interval.
        behind: seeds, and the difference that could have been shown.
        picture: of the effect.
        cells: names.
    """

    setting: str
    metric: str
    losses: list[str]
    effect: str
    behind: str
    picture: Markup
    cells: tuple[str, ...]


class ClaimRow(NamedTuple):
    """A claim on the page.

    Attributes:
        verdict: with statement, paper and reason.
        kind: of verdict, a CSS class.
        effect: with its interval.
        visible: the difference that could have been shown.
        picture: of the same.
        facts: sentences about margin and size, where they are known.
        findings: a row per comparison.
    """

    verdict: Verdict
    kind: str
    effect: str
    visible: str
    picture: Markup
    facts: list[str]
    findings: list[FindingRow]


def claims_scale_of(verdicts: list[Verdict]) -> Scale:
    """Chooses the axis of all claims and their comparisons."""
    shown: list[Verdict | Finding] = [*verdicts, *(one for verdict in verdicts for one in verdict.findings)]
    stated = [_known(verdict, name) for verdict in verdicts for name in ("margin", "size")]
    return scale_of([*stated, *(value for one in shown for value in (one.effect, one.low, one.high))])


def claim_rows(
    verdicts: list[Verdict], scale: Scale, losses: Mapping[str, str], metrics: Collection[str]
) -> list[ClaimRow]:
    """Lays the verdicts out for the page.

    Args:
        verdicts: in the order of the experiment file.
        scale: the axis of their pictures.
        losses: of cells by name, as papers write them.
        metrics: labels of those that comparisons may be in.
    """
    rows = []
    for verdict in verdicts:
        effect = effect_text(verdict.effect, verdict.low, verdict.high)
        margin, size = _known(verdict, "margin"), _known(verdict, "size")
        where = next((one.setting for one in verdict.findings if one.effect == verdict.effect), "")
        told = [f"{verdict.verdict}: {effect} points", where, f"{verdict.seeds} seeds", told_cells(verdict.cells)]
        label = "; ".join(filter(None, told)) if verdict.effect is not None else ""
        picture = forest(scale, verdict.effect, verdict.low, verdict.high, margin=margin, size=size, label=label)
        findings = [_finding(finding, scale, margin, losses, metrics) for finding in verdict.findings]
        # "reproduced, smaller than claimed" and "equivalent: …" look like their first word.
        kind = verdict.verdict.partition(",")[0].partition(":")[0].replace(" ", "-")
        visible = plus_minus(verdict.smallest_visible)
        rows.append(ClaimRow(verdict, kind, effect, visible, picture, _facts(verdict), findings))
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


def _finding(
    finding: Finding, scale: Scale, margin: float | None, losses: Mapping[str, str], metrics: Collection[str]
) -> FindingRow:
    effect = effect_text(finding.effect, finding.low, finding.high)
    behind = f"{finding.seeds} seed{'s' * (finding.seeds != 1)}"
    behind += f", could have shown {plus_minus(finding.smallest_visible)}" if finding.smallest_visible else ""
    label = "; ".join(filter(None, [f"{finding.setting}: {effect} points", behind, told_cells(finding.cells)]))
    return FindingRow(
        setting=finding.setting,
        metric=next((name for name in metrics if finding.setting.endswith(f", {name}")), ""),
        losses=list(dict.fromkeys(losses[cell] for cell in finding.cells if cell in losses)),
        effect=effect,
        behind=behind,
        picture=forest(scale, finding.effect, finding.low, finding.high, margin=margin, label=label),
        cells=finding.cells,
    )
