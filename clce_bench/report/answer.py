"""The answer that a page begins with: its question, one sentence, and the differences behind it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from clce_bench.analysis.settings import with_baselines
from clce_bench.analysis.summary_labels import data_label, metric_label
from clce_bench.analysis.summary_rows import AXES, Row, as_rows, grid_rows, hyperparameter_columns, known
from clce_bench.analysis.verdicts import Verdict
from clce_bench.components.loss_info import NO_TRAINING, WITHOUT_CODE
from clce_bench.experiment.schema import Experiment
from clce_bench.labels import axis_label, loss_label, setting_label, value_label
from clce_bench.report.cells_behind import told_cells
from clce_bench.report.forest import Scale, axis, forest, scale_of
from clce_bench.report.headline import effect_text, headline_comparisons, interval, plus_minus

FIRST = 8
"""How many rows the first screen shows; the rest is folded."""


class Effect(NamedTuple):
    """A setting of the headline grid.

    Attributes:
        setting: loss and λ, and what else tells the rows apart.
        data: data set.
        metric: with its unit.
        mean: with its interval.
        difference: to cross-entropy, with its interval.
        visible: the difference that could have been shown.
        picture: of the difference.
        behind: seeds and test images, or classes.
        loss: as papers write it.
        cells: names, those that it is compared with among them.
    """

    setting: str
    data: str
    metric: str
    mean: str
    difference: str
    visible: str
    picture: Markup
    behind: str
    loss: str
    cells: list[str]


class Answer(NamedTuple):
    """What the first screen says.

    Attributes:
        question: in words.
        sentence: one, or two.
        effects: a row per setting.
        axis: of their pictures.
        margin: the smallest difference that the claims call one, in points.
    """

    question: str
    sentence: str
    effects: list[Effect]
    axis: Markup
    margin: float | None


def answer_of(experiment: Experiment, summary: pd.DataFrame, verdicts: list[Verdict]) -> Answer:
    """Works out what the first screen says."""
    tables = headline_comparisons(experiment, summary)
    margins = [margin for verdict in verdicts if (margin := getattr(verdict, "margin", None))]
    margin = min(margins, default=None)
    ends = [value for table in tables.values() for name in ("low", "high") for value in table[f"difference_{name}"]]
    means = [value for table in tables.values() for value in table["difference"]]
    scale = scale_of([*ends, *means, *([-margin, margin] if margin else [])])
    rows = [(metric, row) for metric, table in tables.items() for row in as_rows(table)]
    names = [_setting(row, [other for _, other in rows]) for _, row in rows]
    grid = as_rows(grid_rows(summary, experiment.headline_grid.name))
    cells = {metric: _cells(grid, metric) for metric in tables}
    effects = [
        _effect(name, metric, row, cells[metric][_key(row)], scale, margin)
        for name, (metric, row) in zip(names, rows, strict=True)
    ]
    return Answer(
        _question(experiment), _sentence(experiment, rows, verdicts), effects, axis(scale.signed_ticks), margin
    )


def _sentence(experiment: Experiment, rows: Sequence[tuple[str, Row]], verdicts: list[Verdict]) -> str:
    """Says what decides: the primary claim, else the first that results decide; without any, the largest difference."""
    primary = {claim.id for claim in experiment.claims if claim.primary}
    decided = [verdict for verdict in verdicts if verdict.effect is not None and verdict.verdict != "undecided"]
    told = [verdict for verdict in verdicts if verdict.claim in primary] or decided[:1]
    return " ".join([*map(_told, told), *_count(verdicts), *([] if decided else [_largest(rows)])])


_WORDS = {"undecided": "stays undecided", "equivalent": "comes to no difference beyond the margin"}


def _told(verdict: Verdict) -> str:
    words = _WORDS.get(verdict.verdict, f"is {verdict.verdict}")
    claim = f"“{verdict.statement.removesuffix('.')}” {words}"
    if verdict.effect is None:
        return f"{claim}."
    effect = effect_text(verdict.effect, verdict.low, verdict.high)
    where = next((f"{one.setting}; " for one in verdict.findings if one.effect == verdict.effect), "")
    return f"{claim}: {effect} points ({where.replace(' (%)', '')}{100 * (1 - verdict.alpha):.4g} % interval)."


def _question(experiment: Experiment) -> str:
    grid = experiment.headline_grid
    losses = list(dict.fromkeys(loss_label(loss.name) for loss in grid.loss if loss.name not in WITHOUT_CODE))
    data = [data_label(name, float("nan")) for name in grid.dataset]
    where = _listed(data, "and") if len(data) <= 3 else f"{len(data)} data sets"
    if not losses or not any(loss.name == "ce" for loss in grid.loss):
        return f"How well do {_listed(losses, 'and')} classify {where}?" if losses else f"Cross-entropy on {where}"
    if set(grid.contrastive_weight) == {1.0}:
        return f"Does training with {_listed(losses, 'or')} beat cross-entropy on {where}?"
    return f"Does adding {_listed(losses, 'or')} to cross-entropy beat cross-entropy alone on {where}?"


def _listed(names: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _count(verdicts: list[Verdict]) -> list[str]:
    counts = Counter(verdict.verdict for verdict in verdicts)
    listed = "; ".join(f"{count} {name}" for name, count in counts.items())
    return [f"Of {len(verdicts)} claims: {listed}."] if verdicts else []


def _largest(rows: Sequence[tuple[str, Row]]) -> str:
    trained = [(metric, row) for metric, row in rows if row["loss"] != NO_TRAINING]
    known = [(metric, row) for metric, row in trained if row["difference"] == row["difference"]]
    if not known:
        return "There is no difference to cross-entropy to show yet."
    metric, row = max(known, key=lambda pair: abs(pair[1]["difference"]))
    clear = sum(one["difference_low"] * one["difference_high"] > 0 for _, one in known)
    told = interval(*(row[name] for name in ("difference", "difference_low", "difference_high")), signed=True)
    data = data_label(str(row["dataset"]), row["images_per_class"], row["label_noise"])
    measured = metric_label(metric).removesuffix(" (%)")
    several = f"{clear} of {len(known)} intervals exclude" if clear != 1 else f"1 of {len(known)} intervals excludes"
    return (
        f"{setting_label(str(row['loss']), row['lambda'])} differs most from cross-entropy: {told} points of "
        f"{measured} on {data}. {several} zero, before correction for several comparisons."
    )


def _units(metric: str) -> str:
    return "classes" if "balanced_" in metric or "fewshot_" in metric else "images"


def _setting(row: Row, rows: Sequence[Row]) -> str:
    own = [
        f"{title} {row[name]}"
        for name, title in (("batch_size", "batch"), ("backbone", ""), ("hazards", "hazards"))
        if len({other[name] for other in rows}) > 1 and row[name]
    ]
    own += [
        f"{axis_label(name)} {value_label(value)}"
        for name in hyperparameter_columns(row)
        if pd.notna(value := row[name])
    ]
    return ", ".join([setting_label(str(row["loss"]), row["lambda"]), *own])


def _cells(grid: list[Row], metric: str) -> dict[tuple[Any, ...], list[str]]:
    """Names the cells with a result behind each setting, those that it is compared with among them."""
    return {
        _key(setting): [cell["cell"] for cell in (*known(own, metric), *(baseline or []))]
        for setting, own, baseline in with_baselines(grid, metric)
    }


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*AXES, *hyperparameter_columns(row)))


def _effect(setting: str, metric: str, row: Row, cells: list[str], scale: Scale, margin: float | None) -> Effect:
    value = {name: row[name] for name in ("difference", "difference_low", "difference_high")}
    difference = interval(*value.values(), signed=True)
    data = data_label(str(row["dataset"]), row["images_per_class"], row["label_noise"])
    seeds, units = int(row["n"]), int(row["units"])
    behind = f"{seeds} seed{'s' * (seeds != 1)}, {units:,} test {_units(metric)}"
    label = f"{setting} minus CE, {data}: {difference} {metric_label(metric, 'points')}; {behind}; {told_cells(cells)}"
    return Effect(
        setting=setting,
        data=data,
        metric=metric_label(metric),
        mean=interval(*(row[name] for name in ("mean", "low", "high"))),
        difference=difference,
        visible=plus_minus(row["smallest_visible"]),
        picture=forest(scale, *value.values(), margin=margin, label=label if difference != "–" else ""),
        behind=behind,
        loss=loss_label(str(row["loss"])),
        cells=cells,
    )
