"""The notebook of the documentation, run on made-up results."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from clce_bench.analysis.summary import write_summary
from tests.helpers.made_up import make_up

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/headline.ipynb"


def test_the_notebook_draws_the_headline_differences():
    grid = {"name": "main", "dataset": "digits", "loss": ["ce", "clce", "tcl"], "seed": [0, 1, 2]}
    experiment, plan = make_up(grids=[grid], figures=[])
    write_summary(experiment, plan.folder)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]).replace('"default"', f'"{experiment.name}"'), names)
    table = pd.read_parquet(plan.folder / "comparisons.parquet")
    table = table[(table["metric"] == "metric.top1") & table["difference"].notna()]
    (errorbar,) = names["axes"].containers
    assert len(table) == 2
    assert sorted(errorbar.lines[0].get_xdata()) == sorted(table["difference"])
    labels = [label.get_text() for label in names["axes"].get_yticklabels()]
    assert labels == [f"{loss}, λ = 0.9, digits" for loss in table["loss"]]
    plt.close(names["figure"])
