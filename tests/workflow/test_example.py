"""The worked example, by its README in a copy of its folder: what its command would run."""

import json
import shutil
from collections import Counter
from pathlib import Path

from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT

EXAMPLE = Path("examples/my_experiment")


def cells(folder):
    """What ``make reproduce`` would do by the example's file: names of cells, jobs by rule."""
    command = ["-m", "clce_bench.cli", "plan", "--no-cost", "--json", "--experiment", str(EXAMPLE / "experiment.yaml")]
    plan = python(*command, cwd=folder)
    assert plan.returncode == 0, plan.stderr
    jobs = json.loads(plan.stdout)["jobs"]
    return {job["key"] for job in jobs if job["rule"] == "train"}, Counter(job["rule"] for job in jobs)


def test_the_readme_compares_a_new_loss_with_all_others_and_another_margin_is_two_other_cells(tmp_path):
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE, ignore=shutil.ignore_patterns("images"))
    make_images, reproduce = (ROOT / EXAMPLE / "README.md").read_text().split("```")[1].strip().splitlines()
    assert reproduce == f"make reproduce EXPERIMENT={EXAMPLE}/experiment.yaml"
    assert make_images == f".venv/bin/python {EXAMPLE}/make_images.py"
    python(f"{EXAMPLE}/make_images.py", cwd=tmp_path, check=True)
    before, jobs = cells(tmp_path)
    assert (jobs["train"], jobs["evaluate"]) == (16, 16)  # Eight losses, two seeds.

    file = tmp_path / EXAMPLE / "experiment.yaml"
    file.write_text(file.read_text().replace("margin: 0.2", "margin: 0.1"))
    after, _ = cells(tmp_path)
    assert len(after) == 16
    assert len(after - before) == 2
    assert all("MarginSupCon" in name for name in after - before)
