"""Runs the smoke experiment through a Slurm on loopback; models and metrics must be the local run's, bit for bit.

Run ``PYTHONPATH=$PWD .venv/bin/python .ci/check_slurm.py`` after ``make reproduce EXPERIMENT=experiments/smoke.yaml``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import load_experiment
from clce_bench.files import read_json
from tests.helpers import slurm_cluster

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "smoke.yaml"
BIN = Path(sys.executable).parent
OPTIONS = (
    *("--profile", str(ROOT / "profiles" / "slurm-nogpu"), "--snakefile", str(ROOT / "Snakefile"), "--quiet"),
    *("--slurm-status-command", "squeue", "--group-components", "small_cells=10"),
)

if missing := slurm_cluster.missing():
    print(f"Not run through Slurm, which cannot be installed here: {', '.join(missing)}")
    sys.exit()
with tempfile.TemporaryDirectory() as folder, slurm_cluster.cluster(Path(folder), nodes=2) as cluster:
    place = Path(folder, "run")
    place.mkdir()
    # What the cells cost decides how they are batched.
    subprocess.run([BIN / "clce-bench", "plan", "--experiment", EXPERIMENT], cwd=place, check=True, capture_output=True)
    command = [
        sys.executable,
        ROOT / "tests" / "helpers" / "impatient_snakemake.py",
        "--configfile",
        EXPERIMENT,
        *OPTIONS,
    ]
    subprocess.run(command, cwd=place, env=cluster.environment, check=True)
    cells = union(cells_of(load_experiment(EXPERIMENT)))
    assert read_json(place / "results/experiments/smoke/tracked.json")["written"] == len(cells)
    for cell in cells:
        model = cell.directory / "model.safetensors"
        assert (place / model).read_bytes() == (ROOT / model).read_bytes(), cell.name
        ours, theirs = (read_json(root / cell.directory / "metrics.json")["metrics"] for root in (place, ROOT))
        assert ours == theirs, cell.name
        ours, theirs = (np.load(root / cell.directory / "metrics.npz") for root in (place, ROOT))
        assert {name: ours[name].tobytes() for name in ours} == {name: theirs[name].tobytes() for name in theirs}, (
            cell.name
        )
print(f"{len(cells)} cells through Slurm: the models and metrics of the local run, bit for bit")
