"""From the table of cells to answers: comparisons, components of variance, verdicts, tables."""

import shutil
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from clce_bench.analysis.comparisons import compare_pairs, comparison_frame, comparisons_of
from clce_bench.analysis.difference_variance import variance_of_differences
from clce_bench.analysis.published_numbers import add_published
from clce_bench.analysis.result_tables import comparison_table, variance_table, verdict_table, write_table
from clce_bench.analysis.rounds import judge_in_rounds
from clce_bench.analysis.summary_labels import is_accuracy, metric_label
from clce_bench.analysis.summary_rows import ORIGIN, figure_rows, grid_rows, hyperparameter_columns, metrics_of
from clce_bench.analysis.verdicts import Verdict, write_verdicts
from clce_bench.experiment.schema import Experiment
from clce_bench.files import staged


def write_answers(experiment: Experiment, summary: pd.DataFrame, output: Path) -> None:
    """Writes ``comparisons``, ``pairs`` and ``variance`` (CSV and Parquet), ``verdicts.json`` and ``tables/``.

    Args:
        experiment: names the grids and the claims.
        summary: a row per cell.
        output: the experiment's folder.
    """
    comparisons: dict[str, list[pd.DataFrame]] = {"comparisons": [], "pairs": [], "variance": []}
    # Many small products: threads would cost more than they bring.
    with threadpool_limits(limits=1):
        for grid in experiment.grids:
            rows = _without_constants(grid_rows(summary, grid.name))
            accuracies = metrics_of(rows)
            for metric in dict.fromkeys([*accuracies, *metrics_of(rows, accuracy=False)]):
                found = comparisons_of(rows, metric)
                tables = {"comparisons": add_published(comparison_frame(found), metric)}
                if metric in accuracies:
                    tables |= {"pairs": compare_pairs(rows, metric), "variance": variance_of_differences(found)}
                for name, table in tables.items():
                    table.insert(0, "grid", grid.name)
                    table.insert(1, "metric", metric)
                    comparisons[name].append(table)
        verdicts = judge_in_rounds(experiment, summary).verdicts
        figures = {
            figure.name: figure.table(figure_rows(figure, summary)) for figure in experiment.figures if figure.tabled
        }
    write_tables(comparisons["comparisons"], comparisons["variance"], verdicts, figures, output / "tables")
    with staged(output, last="verdicts.json") as folder:
        for name, parts in comparisons.items():
            known = [part for part in parts if len(part)]
            table = pd.concat(known, ignore_index=True) if known else pd.DataFrame({"grid": [], "metric": []})
            table.to_csv(folder / f"{name}.csv", index=False)
            # Hyper-parameters of different losses may share a name, not a type.
            mixed = [key for key in table.filter(regex=r"^(loss|recipe)\.") if table[key].dtype == object]
            table.astype(dict.fromkeys(mixed, "string")).to_parquet(folder / f"{name}.parquet", index=False)
        write_verdicts(folder / "verdicts.json", verdicts)


def _without_constants(rows: pd.DataFrame) -> pd.DataFrame:
    """Drops the hyper-parameters that all cells share: they tell no settings apart, and wide tables are slow."""
    shared = [name for name in hyperparameter_columns(rows) if rows[name].nunique(dropna=False) < 2]
    return rows.drop(columns=[*shared, *ORIGIN], errors="ignore")


def write_tables(
    comparisons: list[pd.DataFrame],
    variance: list[pd.DataFrame],
    verdicts: list[Verdict],
    figures: dict[str, pd.DataFrame],
    output: Path,
) -> None:
    """Writes a table per accuracy and grid, one of each grid's other metrics, one of the variance, one of the verdicts.

    Args:
        comparisons: one per grid and metric, with these as columns.
        variance: likewise.
        verdicts: in the order of the experiment file.
        figures: text of the figures that have a table, by name.
        output: the folder of the tables; emptied first.
    """
    shutil.rmtree(output, ignore_errors=True)
    with staged(output, last="claims.csv") as folder:
        others: dict[str, list[pd.DataFrame]] = {}
        for table in (table for table in comparisons if len(table)):
            grid, metric = table["grid"].iloc[0], table["metric"].iloc[0]
            text, label = comparison_table(table), metric_label(metric)
            if is_accuracy(metric):
                write_table(text, folder / f"{grid}-{metric.removeprefix('metric.')}", f"{grid}: {label}")
            else:
                text.insert(0, "metric", label)
                others.setdefault(grid, []).append(text)
        for grid, texts in others.items():
            write_table(pd.concat(texts), folder / f"{grid}-embeddings", f"{grid}: calibration and embeddings")
        known = [table for table in variance if len(table)]
        if known:
            title = "Where the variance of the difference to CE comes from"
            write_table(variance_table(pd.concat(known)), folder / "variance", title)
        for name, table in figures.items():
            write_table(table, folder / name, name)
        write_table(verdict_table(verdicts), folder / "claims", "Claims of the papers")
