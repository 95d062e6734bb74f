"""Miniature workflows: the real DAG on a small experiment, in a folder of its own."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

from clce_bench.files import read_json
from tests.helpers.interpreters import python, share_compiled

ROOT = Path(__file__).parents[2]

BROKEN = """
import torch

class Broken(torch.nn.Module):
    def forward(self, embeddings, labels):
        return embeddings.sum() * float("nan")
"""

TAIL = {
    ("summarize", "miniature"),
    ("figures", "lambda_curve-losses"),
    ("report", "miniature"),
    ("track", "miniature"),
}


def snakemake(folder, *arguments, experiment="miniature.yaml", clone=ROOT):
    command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(clone / "Snakefile")]
    command += ["--configfile", experiment, "--cores", "2", *arguments]
    # A clone's code is imported before the installed one.
    return python(*command, cwd=folder, timeout=500, env={**os.environ, "PYTHONPATH": str(clone)})


def make_finished(folder):
    """Runs the miniature experiment; one of its losses diverges."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("miniature.yaml"), folder)
    (folder / "broken_loss.py").write_text(BROKEN)
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr[-3000:]


def jobs_of(output):
    """The job counts that a dry run prints."""
    lines = [line.split() for line in output.splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def planned(folder, clone=ROOT, experiment="miniature.yaml"):
    """Returns the jobs that the next run runs, by ``clce-bench plan``: pairs of rule and key."""
    command = ["-m", "clce_bench.cli", "plan", "--no-cost", "--json", "--experiment", experiment]
    plan = python(*command, cwd=folder, env={**os.environ, "PYTHONPATH": str(clone)})
    assert plan.returncode == 0, plan.stderr
    return {(job["rule"], job["key"]) for job in json.loads(plan.stdout)["jobs"]}


def dry_run(folder, clone=ROOT, experiment="miniature.yaml"):
    """Returns the jobs that Snakemake would run, which are those that ``clce-bench plan`` names."""
    dry = snakemake(folder, "-n", experiment=experiment, clone=clone)
    assert dry.returncode == 0, dry.stderr
    printed = dry.stdout + dry.stderr
    blocks = re.findall(r"^ *(?:local)?rule (\w+):\n((?: +\w+: .*\n)+)", printed, re.MULTILINE)
    found = set()
    for rule, details in blocks:
        key = re.search(r"wildcards: key=(\S+)", details)
        found.add((rule, key[1] if key else Path(experiment).stem))
    found = {job for job in found if job[0] != "all"}
    assert found == planned(folder, clone, experiment)
    return found


def link_or_copy(source, target):
    """Large files are shared: tests write into small ones, and test processes share what is finished."""
    (os.link if Path(source).stat().st_size > 100_000 else shutil.copy2)(source, target)


def copy_of(folder, target, copy=link_or_copy, **options):
    return shutil.copytree(folder, target, copy_function=copy, **options)


def clone_of(target):
    """Makes a copy of all that the workflow runs, for edits."""
    for name in ("clce_bench", "workflow", "profiles"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", target)
    share_compiled(ROOT / "clce_bench", target / "clce_bench")
    return target


def keys_of(folder, **spec):
    """Keys of the finished cells with these values."""
    root = folder / "results" / "cells"
    found = {str(path.parent.relative_to(root)): read_json(path) for path in root.rglob("cell.json")}
    return {key for key, cell in found.items() if all(cell["job"]["spec"][name] == spec[name] for name in spec)}


def both(keys):
    return {(rule, key) for rule in ("train", "evaluate") for key in keys}


def rewrite(path, change):
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def edit(clone, file, old, new):
    path = clone / "clce_bench" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
