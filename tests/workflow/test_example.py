"""The worked example, by the commands of its README, in a copy of its folder."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.helpers.miniature import ROOT, jobs_of, snakemake

EXAMPLE = Path("examples/my_experiment")


def run(command, folder):
    """Runs a command of the README; ``make reproduce`` is snakemake with an environment, which is here already."""
    words = shlex.split(command)
    if words[0] == ".venv/bin/python":
        subprocess.run([sys.executable, *words[1:]], cwd=folder, check=True)
        return
    make, reproduce, experiment = words
    assert (make, reproduce) == ("make", "reproduce")
    done = snakemake(folder, experiment=experiment.removeprefix("EXPERIMENT="))
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_commands_of_the_readme_compare_a_new_loss_with_all_others(tmp_path):
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE, ignore=shutil.ignore_patterns("images"))
    file = tmp_path / EXAMPLE / "experiment.yaml"
    # Two of the package's losses stand for seven.
    fewer = re.sub(r"^ +- (schane|clce|tcl|ntxent|hcl)\n", "", file.read_text(), flags=re.MULTILINE)
    file.write_text(fewer.replace("epochs: 8", "epochs: 4"))
    for command in (ROOT / EXAMPLE / "README.md").read_text().split("```")[1].strip().splitlines():
        run(command, tmp_path)
    results = tmp_path / "results/experiments/my-experiment"
    summary = pd.read_parquet(results / "summary.parquet")
    assert set(summary["status"]) == {"done"}
    assert summary["loss"].nunique() == 3
    assert summary["metric.top1"].min() > 0.3  # Chance is 0.1.
    assert "MarginSupCon" in (results / "headline.txt").read_text()
    assert (results / "report.html").exists()

    # Another margin: this loss runs, no other.
    file.write_text(file.read_text().replace("margin: 0.2", "margin: 0.1"))
    dry = snakemake(tmp_path, "-n", experiment=str(EXAMPLE / "experiment.yaml"))
    counts = jobs_of(dry.stdout + dry.stderr)
    assert (counts["train"], counts["evaluate"]) == (2, 2)
