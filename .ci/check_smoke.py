"""Checks what the smoke experiment produced."""

import sqlite3
from pathlib import Path

import pandas as pd

folder = Path("results/experiments/smoke")
summary = pd.read_parquet(folder / "summary.parquet")
assert set(summary["status"]) == {"done"}, summary["status"].value_counts()
assert set(summary["loss"]) == {"none", "ce", "supcon", "schane", "clce", "tcl"}
assert (summary.groupby(["loss", "lambda", "batch_size"])["seed"].nunique() == 2).all()
# Chance is 0.1; a linear probe of any trained cell must be far above it.
assert summary["metric.probe_top1"].min() > 0.5, summary["metric.probe_top1"].describe()
kinds = ("training_curve", "accuracy_cost", "differences", "difference_matrix")
kinds += ("cosine_distributions", "tsne", "gradient_magnitudes")
for figure in ("lambda_curve-lambda", "batch_size_curve-batch-size", *(f"{kind}-losses" for kind in kinds)):
    for ending in ("svg", "png", "pdf"):
        assert (folder / "figures" / f"{figure}.{ending}").stat().st_size > 5_000, figure
page = (folder / "report.html").read_text()
assert all(name in page for name in ("CE", "SupCon", "SCHaNe", "CLCE", "TCL"))
with sqlite3.connect("results/mlflow/mlflow.db") as store:
    (runs,) = store.execute("SELECT count(*) FROM tags WHERE key = 'clce.complete' AND value = 'yes'").fetchone()
assert runs >= len(summary), runs
print(f"{len(summary)} cells, {runs} tracked runs, figures and report: as expected")
