"""Which code, which versions and which machines are behind the numbers of a page."""

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from clce_bench.analysis.summary_rows import grid_rows
from clce_bench.labels import loss_label
from clce_bench.report.page_tables import Table

_GROUPS = ["device", "platform", "versions", "git_commit"]


def provenance_table(summary: pd.DataFrame) -> Table:
    """Builds a row per machine, set of versions and git commit that trained cells, with the code's fingerprints."""
    rows = []
    trained = summary[summary["code"].notna()]
    for _, members in trained.groupby(_GROUPS, dropna=False):
        first = members.iloc[0]
        losses = {str(loss): codes for loss, codes in members.groupby("loss")["code"].unique().items()}
        rows.append(
            {
                "cells": len(members),
                "tables": ", ".join(sorted({grid for names in members["grids"] for grid in names.split()})),
                "trained": _dates(members["started"]),
                "machine": f"{first['device']}; {first['platform']}",
                "versions": first["versions"],
                "git commit": str(first["git_commit"] or "unknown")[:12],
                "training code": "; ".join(f"{loss_label(loss)} {_short(codes)}" for loss, codes in losses.items()),
                "evaluation code": _short(members["evaluate_code"].dropna().unique()),
            }
        )
    return Table("Where the numbers come from", rows)


def accepted_table(summary: pd.DataFrame) -> Table:
    """Builds a row per cell whose code has changed since, which somebody said does not matter."""
    rows = summary[summary["accepted"].fillna("") != ""]
    return Table(
        "Accepted although the code has changed",
        [
            {"cell": row["cell"], "loss": loss_label(row["loss"]), "why": row["accepted"]}
            for row in rows.to_dict("records")
        ],
    )


def mixtures(summary: pd.DataFrame, grids: list[str]) -> list[str]:
    """Says in which tables numbers come from different versions, machines or code, and from which.

    Args:
        summary: all cells.
        grids: names; each has tables of its own.
    """
    tables: dict[str, list[str]] = defaultdict(list)
    for grid in grids:
        rows = grid_rows(summary, grid)
        done = rows[rows["status"] == "done"]
        kinds = {"processors or GPUs": done["device"], "evaluation code": done["evaluate_code"].str[:8]}
        for name, versions in _versions(done).items():
            kinds[f"versions of {name}"] = versions
        for loss, members in done.groupby("loss"):
            kinds[f"training code of {loss_label(str(loss))}"] = members["code"].str[:8]
        for kind, values in kinds.items():
            found = sorted(values.dropna().unique())
            if len(found) > 1:
                tables[f"different {kind}: {', '.join(found)}"].append(grid)
    return [f"{', '.join(names)}: numbers in one table come from {mixture}." for mixture, names in tables.items()]


def _versions(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Takes the lists of versions apart: by package, the version of each cell."""
    each = [dict(entry.rsplit(" ", 1) for entry in text.split(", ")) for text in rows["versions"]]
    table = pd.DataFrame(each, index=rows.index)
    return {str(name): table[name].fillna("none") for name in table}


def _dates(started: pd.Series) -> str:
    first, last = (str(time)[:10] for time in (started.min(), started.max()))
    return first if first == last else f"{first} to {last}"


def _short(codes: Iterable[str]) -> str:
    return ", ".join(sorted(code[:8] for code in codes))
