"""What MLflow runs to open a tracked cell: a copy of this file is in each run's ``model`` folder."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class TrackedCellModel(PythonModel):
    """Classifies images by a cell whose weights stay where training wrote them."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the cell that the run's model folder names.

        Raises:
            ValueError: its weights are not those that the run tells of.
        """
        from clce_bench.files import sha256_of
        from clce_bench.inference.trained_cell import load_cell

        directory = Path(context.model_config["cell"])
        self.cell = load_cell(directory)
        if sha256_of(directory / "model.safetensors") != context.model_config["weights_sha256"]:
            raise ValueError(f"{directory}: it was trained again since this run was tracked: clce-bench track.")

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classifies images.

        Args:
            context: not used.
            model_input: a column ``image``: the bytes of image files.
            params: not used.

        Returns:
            A row per image: ``class``, ``probability`` of it, and ``probabilities`` of all classes in the order of the
            model's metadata.
        """
        with TemporaryDirectory() as folder:  # Files are read upright, and what is transparent on white.
            files = [Path(folder, str(row)) for row in range(len(model_input))]
            for file, content in zip(files, model_input["image"], strict=True):
                file.write_bytes(content)
            chances = self.cell.predict_proba(files)
        best = chances.argmax(axis=1)
        return pd.DataFrame(
            {
                "class": [self.cell.classes[column] for column in best],
                "probability": chances.max(axis=1).astype(float),
                "probabilities": chances.astype(float).tolist(),
            }
        )


mlflow.models.set_model(TrackedCellModel())
