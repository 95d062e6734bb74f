"""Training finished cells again, elsewhere, to see whether they come out the same."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from clce_bench.evaluation.evaluate import evaluate_cell
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Runtime
from clce_bench.files import read_json
from clce_bench.labels import is_accuracy
from clce_bench.planning.cell_status import evaluation_of, sentences
from clce_bench.planning.job import Job, Node
from clce_bench.planning.reruns import Reruns
from clce_bench.seeds import seed_for
from clce_bench.training.train import train_cell

_HISTORY = ["loss", "learning_rate", "validation"]


@dataclass(frozen=True)
class Rerun:
    """What came of training a cell again.

    Attributes:
        cell: its name.
        verdict: ``same bits``, ``within tolerance`` or ``differs``.
        compared: ``bits``, or why only metrics could be compared.
        differences: what is not equal: files, epochs, metrics.
        causes: what is not as it was when the cell was trained, the likeliest cause first.
    """

    cell: str
    verdict: str
    compared: str
    differences: list[str]
    causes: list[str]


def draw(reruns: Reruns, count: int, seed: int) -> list[Cell]:
    """Draws finished cells whose inputs are here.

    Args:
        reruns: of the experiment.
        count: how many, at most.
        seed: decides which.
    """
    cells = [cell for cell in reruns.plan.cells if _can_run(cell, reruns.plan.job(Node("train", cell.key)))]
    return random.Random(seed_for("verify", seed=seed)).sample(cells, min(count, len(cells)))


def _can_run(cell: Cell, job: Job) -> bool:
    if not (cell.directory / "cell.json").exists() or evaluation_of(cell) is None:
        return False
    inputs = all(Path(path).exists() for path in job.inputs.values())
    return inputs and bool(read_json(cell.directory / "cell.json")["status"] == "done")


def rerun(reruns: Reruns, cell: Cell, tolerance: float) -> Rerun:
    """Trains and evaluates a cell again in a folder for temporary files and compares.

    What is trained is what the experiment file says, not what the cell's record says: that may be another's.

    Args:
        reruns: of the experiment.
        cell: one of :func:`draw`.
        tolerance: by how much an accuracy may differ, as a share, where bits cannot be compared.
    """
    then, measured = read_json(cell.directory / "cell.json"), read_json(cell.directory / "metrics.json")
    train, evaluate = (Node(verb, cell.key) for verb in ("train", "evaluate"))
    runtime = {**then["runtime"], "processes": 1, "device": "auto" if then["environment"]["gpu"] else "cpu"}
    with TemporaryDirectory(prefix="clce-rerun-") as temporary:
        folder = Path(temporary, cell.name)
        train_cell(reruns.plan.job(train).definition, folder, Runtime.model_validate(runtime))
        measuring = reruns.plan.job(evaluate).definition
        inputs = {**measuring["inputs"], "cell": str(folder / "cell.json")}
        evaluate_cell({**measuring, "inputs": inputs}, folder / "metrics.json")
        now, again = read_json(folder / "cell.json"), read_json(folder / "metrics.json")
        differences = [*_epochs(cell.directory, folder), *_files(then, now)]
    metrics = {name: again["metrics"].get(name, math.nan) - value for name, value in measured["metrics"].items()}
    differences += [f"{name} {value:+.3g}" for name, value in metrics.items() if value != 0]
    obstacle = _obstacle(then, now)
    if not differences:
        verdict = "same bits"
    elif obstacle and all(abs(value) <= tolerance for name, value in metrics.items() if is_accuracy(name)):
        verdict = "within tolerance"
    else:
        verdict = "differs"
    return Rerun(cell.name, verdict, obstacle or "bits", differences, list(_causes(reruns, train, then, now)))


def _obstacle(then: dict[str, Any], now: dict[str, Any]) -> str:
    """Says why the bits of two runs may differ although both are right; nothing when they must not."""
    before, here = then["environment"], now["environment"]
    if before["gpu"] or (here["gpu"] and now["runtime"]["device"] != "cpu"):
        return f"metrics only: GPUs do not repeat bits ({before['gpu'] or before['cpu']} then)"
    if before["packages"].get("torch") != here["packages"].get("torch"):
        return f"metrics only: torch {before['packages'].get('torch')} then, {here['packages'].get('torch')} now"
    if before["cpu"] != here["cpu"]:
        return f"metrics only: {before['cpu']} then, {here['cpu']} now"
    if then["runtime"]["processes"] > 1:
        return f"metrics only: {then['runtime']['processes']} processes then, one now"
    return ""


def _epochs(cell: Path, again: Path) -> Iterator[str]:
    before, after = (pd.read_csv(folder / "history.csv") for folder in (cell, again))
    if len(before) != len(after):
        yield f"{len(before)} epochs then, {len(after)} now"
        return
    unequal = np.flatnonzero((before[_HISTORY] != after[_HISTORY]).any(axis=1))
    if len(unequal):
        yield f"from epoch {before['epoch'].iloc[unequal[0]]} on"


def _files(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    before, after = then["outputs_sha256"], now["outputs_sha256"]
    # The history has times in it; it is compared by its numbers.
    return [name for name in before if name != "history.csv" and before[name] != after.get(name)]


def _causes(reruns: Reruns, node: Node, then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Lists what is not as it was: config, inputs and code in the words of ``status``, versions, machine."""
    yield from sentences(reruns.changes.get(node, []), reruns.plan.job(node), reruns.record(node))
    before, here = then["environment"], now["environment"]
    for name, version in here["packages"].items():
        if before["packages"].get(name) != version:
            yield f"{name} {before['packages'].get(name)} then, {version} now"
    for name in ("python", "cpu", "gpu"):
        if before[name] != here[name]:
            yield f"{name} {before[name]} then, {here[name]} now"
