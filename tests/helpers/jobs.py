"""Jobs of the ``train`` stage on a small data set, with the files that they read."""

from pathlib import Path

from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.splits import make_splits
from clce_bench.experiment.dataset_options import ROLES

BACKBONE = {"name": "test_efficientnet", "weights": "random"}
"""A network that timm has for tests: stages as those of the large ones, half a million weights."""


def prepare(cell, folder: Path, backbone: Path) -> dict[str, str]:
    """Prepares a cell's data set and split in a folder; returns a training job's inputs."""
    data = {"dataset": cell.dataset, "size": cell.size}
    prepare_dataset(data, folder / "data")
    make_splits(
        {**data, "split": cell.split.model_dump(exclude={*ROLES})}, folder / "data/items.parquet", folder / "splits"
    )
    inputs = {
        "dataset": folder / "data/dataset.json",
        "splits": folder / "splits/splits.json",
        "backbone": backbone / "backbone.json",
    }
    return {name: str(path) for name, path in inputs.items()}


def job_of(cell, folder: Path, backbone: Path) -> dict:
    """Returns a job that trains a cell, with its files in a folder."""
    return {"spec": cell.spec, "inputs": prepare(cell, folder, backbone), "code": "test"}
