"""Results of cells that were never trained, for tests of what comes after training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from clce_bench.analysis.summary import write_summary
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.splits import make_splits
from clce_bench.experiment.loading import parse_experiment
from clce_bench.figures.render import render
from clce_bench.files import digest, write_json
from clce_bench.planning.plan import plan_of
from clce_bench.report.page import write_report

EXPERIMENT = {
    "name": "made-up",
    "description": "Numbers without training.",
    "grids": [
        {"name": "main", "dataset": "digits", "loss": ["ce", "clce", "tcl"], "lambda": 0.9, "seed": [0, 1, 2]},
        {"name": "lambda", "dataset": "digits", "loss": "clce", "lambda": [0, 0.5, 0.9, 1], "seed": [0, 1, 2]},
        {"name": "sizes", "dataset": "digits", "loss": ["ce", "clce"], "batch_size": [16, 64], "seed": [0, 1, 2]},
    ],
    "figures": [
        {"kind": "differences", "grid": "main"},
        {"kind": "lambda_curve", "grid": "lambda"},
        {"kind": "batch_size_curve", "grid": "sizes"},
        {"kind": "training_curve", "grid": "main"},
    ],
}


def make_up(**changes):
    """Writes the files of all cells below the working directory and returns experiment and plan."""
    experiment = parse_experiment({**EXPERIMENT, **changes}, "made-up.yaml")
    plan = plan_of(experiment)
    plan.prepare()
    fill(plan, plan.cells)
    return experiment, plan


def fill(plan, cells):
    """Writes the files of cells."""
    rng = np.random.default_rng(0)
    for cell in cells:
        cell.directory.mkdir(parents=True)
        top1 = 0.8 + 0.01 * cell.seed + 0.02 * cell.contrastive_weight + 0.001 * rng.random()
        rows = [
            {
                "epoch": n,
                "time": f"2026-01-01T00:00:0{n}.000+00:00",
                "loss": 2 / n,
                "learning_rate": 0.1,
                "validation": 0.5,
            }
            for n in (1, 2, 3)
        ]
        pd.DataFrame(rows).assign(seconds=1.0).to_csv(cell.directory / "history.csv", index=False)
        save_file({"weight": np.zeros(3)}, cell.directory / "model.safetensors")
        np.savez(cell.directory / "embeddings.npz", features=np.zeros(3))
        record = {
            "name": cell.name,
            "status": "done",
            "reason": None,
            "job": json.loads(plan.jobs["train"][cell.key].param),
            "inputs_sha256": {"dataset": "0" * 64},
            "outputs_sha256": {"model.safetensors": "1" * 64},
            "started": "2026-01-01T00:00:00.000+00:00",
            "seconds": 3.5,
            "peak_memory_mib": 100,
            "waiting_for_data": 0.02,
            "environment": {
                "python": "3.11.0",
                "platform": "Test",
                "cpu": "a processor",
                "gpu": None,
                "packages": {"torch": "2.14.1"},
                "git_commit": "abc",
            },
        }
        (cell.directory / "cell.json").write_text(json.dumps(record))
        if cell.key not in plan.jobs["evaluate"]:
            continue  # A trial of a search is never measured.
        metrics = {"probe_top1": top1} if cell.contrastive_weight == 1 else {"top1": top1, "probe_top1": top1}
        result = {"metrics": metrics, "started": "2026-01-01T00:00:04.000+00:00", "seconds": 0.5, "status": "done"}
        result["cell_sha256"] = record["outputs_sha256"]
        result["job"] = json.loads(plan.jobs["evaluate"][cell.key].param)
        result["inputs_sha256"] = {"cell": digest(record["outputs_sha256"], length=64)}
        (cell.directory / "metrics.json").write_text(json.dumps(result))


def change_record(cell, **changes):
    path = cell.directory / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def prepare(plan):
    """Writes digits and their split."""
    job = next(job for key, job in plan.jobs["train"].items() if key.startswith("digits"))
    prepared, split = (Path(job.inputs[name]).parent for name in ("dataset", "splits"))
    prepare_dataset(plan.jobs["dataset"][prepared.name].spec, prepared)
    make_splits(plan.jobs["splits"][split.name].spec, prepared / "items.parquet", split)
    return job


def leave_out_pictures(patch):
    """Leaves empty the pictures that nobody looks at, which take longer to write than to draw."""
    patch.setattr(Figure, "savefig", lambda _, path, **__: path.touch())


def write_all(experiment, plan):
    """Does what the stages after evaluation do."""
    job = prepare(plan)
    backbone = {
        "name": "tf_efficientnet_lite0",
        "weights": "random",
        "parameters": 10,
        "sha256": {"model.safetensors": "a"},
    }
    Path(job.inputs["backbone"]).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(job.inputs["backbone"]), backbone)
    write_summary(experiment, plan.folder)
    for name, figure in plan.jobs["figures"].items():
        render({"spec": figure.spec, "inputs": figure.inputs}, plan.folder / "figures" / f"{name}.svg")
    write_report(experiment, plan.folder / "report.html")
    return (plan.folder / "report.html").read_text()
