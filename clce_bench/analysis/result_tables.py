"""Tables for people and papers: Markdown, LaTeX (booktabs) and CSV of the same rows."""

import math
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from clce_bench.analysis.summary_labels import data_label
from clce_bench.analysis.summary_rows import PLACE, hyperparameter_columns
from clce_bench.analysis.verdicts import Verdict
from clce_bench.labels import loss_label


def comparison_table(table: pd.DataFrame) -> pd.DataFrame:
    """Turns a comparison into text: one row per setting, blanks where nothing is known.

    Args:
        table: from :func:`clce_bench.analysis.published_numbers.add_published`.
    """
    varying = hyperparameter_columns(table)
    hazards, hazards_of_either = ((table[name] != "").any() for name in ("hazards", "difference_hazards"))
    tests = f"p (Holm, {table['p'].notna().sum()} tests)"
    rows = []
    for record in table.to_dict("records"):
        row = {
            "data set": data_label(record["dataset"], record["images_per_class"], record["label_noise"]),
            "backbone": record["backbone"],
            "overlap": record["overlap"],
            "batch": f"{record['batch_size']}",
            "loss": loss_label(record["loss"]),
            "λ": f"{record['lambda']:g}",
            **({"hazards": record["hazards"]} if hazards else {}),
            **{name.partition(".")[2]: "" if pd.isna(record[name]) else str(record[name]) for name in varying},
            "ours [95 %]": noted(record, "mean", "low", "high", ""),
            "n": f"{record['n']}" + (f" + {record['diverged']} diverged" if record["diverged"] else ""),
            "published": number(record["published"]),
            "ours − published": number(record["published_difference"], signed=True),
            "− CE [95 %]": noted(record, "difference", "difference_low", "difference_high", "difference_"),
            "could have shown": number(record["smallest_visible"]),
            **({"hazards in − CE": record["difference_hazards"]} if hazards_of_either else {}),
            tests: "" if pd.isna(record["p_holm"]) else f"{record['p_holm']:.2g}",
            "g": number(record["effect_size"], signed=True),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def variance_table(table: pd.DataFrame) -> pd.DataFrame:
    """Turns components of variance into text: one row per setting, one column per component, in per cent.

    Args:
        table: from :func:`clce_bench.analysis.difference_variance.variance_of_differences`, with ``grid`` and
            ``metric``.
    """
    keys = ["grid", "metric", *PLACE, "setting"]
    rows = []
    for values, members in table.groupby(keys, dropna=False, sort=False):
        shares = members.set_index("component")["share"]
        row: dict[str, Any] = dict(zip(keys, values, strict=True))
        row["dataset"] = data_label(row["dataset"], row.pop("images_per_class"), row.pop("label_noise"))
        row["metric"] = row["metric"].removeprefix("metric.")
        error = math.sqrt(members["variance"].sum())
        row |= {"standard error": number(error)}
        row |= {f"{name} (%)": "" if pd.isna(share) else f"{100 * share:.0f}" for name, share in shares.items()}
        rows.append({key: str(value) for key, value in row.items()})
    return pd.DataFrame(rows)


def verdict_table(verdicts: list[Verdict]) -> pd.DataFrame:
    """Turns verdicts into text: one row per claim."""
    rows = []
    for found in verdicts:
        effect = (
            "" if found.effect is None else with_interval(found.effect, _or_nan(found.low), _or_nan(found.high), True)
        )
        claim = {"claim": found.statement, "paper": f"{found.paper}, {found.place}", "verdict": found.verdict}
        rows.append({**claim, "effect [95 %]": effect, "n": f"{found.seeds or ''}", "why": found.reason})
    return pd.DataFrame(rows, columns=["claim", "paper", "verdict", "effect [95 %]", "n", "why"])


def number(value: float, signed: bool = False) -> str:
    """Writes a number with two decimals; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:{'+' if signed else ''}.2f}"


def with_interval(mean: float, low: float, high: float, signed: bool = False) -> str:
    """Writes a mean and its interval, such as ``+1.32 [+0.21, +2.43]``; nothing for NaN."""
    ends = "" if math.isnan(low) else f" [{number(low, signed)}, {number(high, signed)}]"
    return number(mean, signed) + ends


def noted(record: Mapping[Hashable, Any], mean: str, low: str, high: str, prefix: str) -> str:
    """Writes a mean and its interval, and what must be said beside it: why there is none, or for which classes it is.

    Args:
        record: a row of :func:`clce_bench.analysis.comparisons.compare`.
        mean: its column; ``low`` and ``high`` likewise.
        low: lower end.
        high: upper end.
        prefix: of the columns ``values`` and ``note``.
    """
    text = with_interval(record[mean], record[low], record[high], signed=bool(prefix))
    values, note = (record[f"{prefix}{name}"] for name in ("values", "note"))
    beside = "; ".join(part for part in (note, values and f"runs: {values}") if part)
    return f"{text} ({beside})" if beside and text else text


def write_table(table: pd.DataFrame, path: Path, title: str) -> None:
    """Writes ``.md``, ``.tex`` and ``.csv``.

    Args:
        table: text only.
        path: without a suffix.
        title: the heading, and LaTeX's caption.
    """
    path.with_suffix(".csv").write_text(table.to_csv(index=False), encoding="utf-8")
    # Programs read the .csv, and know the hyphen only.
    path.with_suffix(".md").write_text(f"# {title}\n\n{markdown(table.map(with_minus))}\n", encoding="utf-8")
    path.with_suffix(".tex").write_text(latex(table.map(with_minus), title), encoding="utf-8")


def with_minus(text: object) -> str:
    """Gives negative numbers in a text the minus sign; hyphens of names stay."""
    return re.sub(r"(?<![\w.−/-])-(?=\d)", "−", str(text))


def markdown(table: pd.DataFrame) -> str:
    """Writes a table of text as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def latex(table: pd.DataFrame, title: str) -> str:
    """Writes a table of text as LaTeX that needs the package booktabs only."""
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in [list(table.columns), *table.to_numpy().tolist()]]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    inside = [rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}", *body, r"\end{tabular}"]
    return "\n".join([r"\begin{table}", rf"\caption{{{_escaped(title)}}}", *inside, r"\end{table}"]) + "\n"


_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "−": "$-$",
    "≥": r"$\geq$",
    "Δ": r"$\Delta$",
}


def _escaped(text: object) -> str:
    return "".join(_SPECIAL.get(char, char) for char in str(text))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
