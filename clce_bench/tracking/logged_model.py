"""The ``model`` folder of a cell's run, which ``mlflow.pyfunc.load_model`` opens.

Code and a description, no weights: they stay in the cell's folder. The folder is written by MLflow's own description of
a model instead of ``log_model``, which runs the code and would take seconds, and torch, for each cell.
"""

import io
import shutil
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _Example
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array
from PIL import Image

from clce_bench.experiment.cells import Cell
from clce_bench.inference.class_names import classes_of

CODE = "model_code.py"
SIGNATURE = ModelSignature(
    Schema([ColSpec(DataType.binary, "image")]),
    Schema(
        [
            ColSpec(DataType.string, "class"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Array(DataType.double), "probabilities"),
        ]
    ),
)


def can_classify(cell: Cell, record: dict[str, Any]) -> bool:
    """Finds out whether a cell has all that classifying takes: weights, their backbone, class names, a classifier.

    Args:
        cell: a finished one.
        record: the content of its ``cell.json``.
    """
    files = [Path(record["job"]["inputs"][name]) for name in ("backbone", "dataset", "splits")]
    files.append(cell.directory / "model.safetensors")
    if record["status"] != "done" or not all(file.exists() for file in files):
        return False
    if cell.trains and cell.contrastive_weight < 1:
        return True
    measured = cell.directory / "metrics.npz"
    return measured.exists() and "probe_weights" in np.load(measured)


def write_model(cell: Cell, record: dict[str, Any], folder: Path) -> None:
    """Writes a model from code, with its signature, an input example and the names of its classes.

    Args:
        cell: one that can classify.
        record: the content of its ``cell.json``.
        folder: a new one.
    """
    folder.mkdir()
    _, classes = classes_of(cell, {name: Path(path) for name, path in record["job"]["inputs"].items()})
    model = Model(signature=SIGNATURE, metadata={"classes": classes})
    example = _example()
    example.save(str(folder))
    model.saved_input_example_info = example.info
    weights = {
        "cell": str(cell.directory.resolve()),
        "weights_sha256": record["outputs_sha256"]["model.safetensors"],
    }
    mlflow.pyfunc.add_to_model(
        model, loader_module="mlflow.pyfunc.loaders.code_model", model_config=weights, model_code_path=CODE
    )
    with resources.as_file(resources.files("clce_bench.tracking") / CODE) as code:
        shutil.copy(code, folder / CODE)
    model.save(str(folder / "MLmodel"))


@cache
def _example() -> _Example:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "grey").save(file, "PNG")
    return _Example(pd.DataFrame({"image": [file.getvalue()]}))
