"""The list of data sets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from clce_bench.components.registry import DATASETS, load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.data.fetch import readable
from clce_bench.data.requirements import all_files, missing_files
from clce_bench.planning.plan import RESULTS
from clce_bench.report.terminal import TextTable


def list_datasets(as_json: bool) -> None:
    """Prints what each data set is, what it takes to get it, and whether it is there."""
    rows = [_row(load_dataset(name), RESULTS) for name in sorted(DATASETS)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    titles = ("name", "task", "classes", "images", "files", "account", "here", "licence")
    table = []
    for row in rows:
        counts = (f"{row[key]:,}" if row[key] else "?" for key in ("classes", "images"))
        size = readable(row["bytes"]) if row["files"] else "in a package"
        account = "needed" if row["account"] else "–"
        table.append((row["name"], row["task"], *counts, size, account, row["here"] or "–", row["licence"]))
    Console().print(TextTable(titles, table, ["account", "licence", "images"], ["licence"]))
    click.echo("Where files come from and where to put them: docs/data.md")


def _row(dataset: Dataset, results: Path) -> dict[str, Any]:
    files = [file for _, file in all_files(dataset)]
    there = not list(missing_files(dataset))
    prepared = any(results.glob(f"data/{dataset.images}-*px/dataset.json"))
    return {
        "name": dataset.name,
        "task": dataset.task,
        "classes": dataset.class_count,
        "images": dataset.image_count,
        "bytes": sum(file.size for file in files),
        "files": [asdict(file) for file in files],
        "account": any(not file.urls for file in files),
        "here": "prepared" if prepared else "yes" if there else "",
        "source": dataset.source,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "page": dataset.page,
    }
