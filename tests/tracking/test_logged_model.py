"""A tracked cell opened by MLflow, in a process that knows nothing but the run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

import clce_bench
from clce_bench.planning.plan import load_plan
from clce_bench.tracking.mlflow_store import store_uri, track_experiment

PREDICT = """
import json, sys
from pathlib import Path
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(f"runs:/{sys.argv[1]}/model")
rows = model.predict(pd.DataFrame({"image": [Path(sys.argv[2]).read_bytes()]})).to_dict("records")
print(json.dumps({"rows": rows, **model.metadata.metadata, "example": str(model.input_example)}))
"""


def test_mlflow_opens_each_cell_that_can_classify_in_another_process(finished, monkeypatch, tmp_path_factory):
    shutil.copytree(finished, ".", copy_function=os.link, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlflow"))
    monkeypatch.syspath_prepend(Path.cwd())
    plan = load_plan(Path("miniature.yaml"))
    track_experiment(plan.experiment, None)
    uri = store_uri(plan.experiment)
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("miniature").experiment_id])
    runs = {run.data.tags["clce.cell"]: run for run in found}
    cells = [cell for cell in plan.cells if cell.dataset == "digits"]
    assert len(cells) == 6
    for cell in cells:
        files = {item.path for item in client.list_artifacts(runs[cell.name].info.run_id, "model")}
        assert {"model/MLmodel", "model/model_code.py", "model/input_example.json"} <= files
        assert not [name for name in files if name.endswith((".pkl", ".safetensors", ".pth"))]
    cell = next(cell for cell in cells if cell.contrastive_weight == 1)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("one.png")
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, runs[cell.name].info.run_id, str(Path("one.png").absolute())],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    trained = clce_bench.load_cell(cell.directory)
    assert said["classes"] == trained.classes
    (row,) = said["rows"]
    assert row["class"] == trained.predict("one.png")[0]
    np.testing.assert_allclose(row["probabilities"], trained.predict_proba("one.png")[0], atol=1e-6)
    assert row["probability"] == pytest.approx(max(row["probabilities"]))
