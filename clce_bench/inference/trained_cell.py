"""A trained cell as a classifier of images: preprocessing, frozen trunk and head in one object."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from clce_bench.data.decode import open_image
from clce_bench.data.resizing import square
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.files import read_json
from clce_bench.inference.class_names import classes_of
from clce_bench.inference.finding import find_cell
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.device import pick_device
from clce_bench.models.features import run_trunk

ImageLike: TypeAlias = Image.Image | str | Path | NDArray[np.uint8] | Tensor

BATCH = 64


class Network(nn.Module):
    """A cell's whole network, from pixels to features and logits.

    Args:
        trunk: the frozen part; nothing if there is none.
        head: the trained part.
        description: the content of ``backbone.json``.
    """

    def __init__(self, trunk: nn.Module | None, head: nn.Module, description: dict[str, Any]) -> None:
        super().__init__()
        self.trunk, self.head, self.description = trunk, head, description

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Computes features (images, d) and logits (images, classes) of uint8 images (images, 3, size, size)."""
        inputs = run_trunk(self.trunk, images, self.description) if self.trunk is not None else images
        features, logits, _ = self.head(inputs)
        return features, logits


class TrainedCell:
    """What a cell has learnt.

    Args:
        directory: of the cell, in a ``results`` folder that still has its backbone, splits and data set.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Attributes:
        directory: as given.
        cell: its specification.
        record: the content of ``cell.json``.
        inputs: the files that it was made from, by name.
        device: where it computes.
        classes: names in the order of the columns of probabilities.
        module: from uint8 images (images, 3, size, size) to features and logits.
    """

    def __init__(self, directory: Path, device: str = "auto") -> None:
        record = read_json(directory / "cell.json")
        if record["status"] != "done":
            raise UserError(f"{directory}: its training {record['status']}: {record['reason']}.")
        self.directory, self.record, self.cell = directory, record, Cell.model_validate(record["job"]["spec"])
        # Paths in records start at the folder that contains ``results``.
        root = directory.resolve().parents[4]
        self.inputs = {name: root / path for name, path in record["job"]["inputs"].items()}
        self._labels, self.classes = classes_of(self.cell, self.inputs)
        self.device = pick_device(device)
        self.module = self._network(self.inputs["backbone"]).to(self.device).eval()

    def _network(self, backbone: Path) -> Network:
        cell, description = self.cell, read_json(backbone)
        trunk, tail = split_backbone(load_backbone(backbone.parent, cell.size), cell.backbone.freeze)
        frozen = cell.backbone.freeze != "none"
        scale = None if frozen else (description["mean"], description["std"])
        head = ContrastiveClassifier(
            tail, description["features"], len(self.classes), cell.contrastive_weight, cell.recipe, cell.seed, scale
        )
        if not cell.trains:
            head.classifier = None
        head.load_state_dict(load_file(self.directory / "model.safetensors"))
        # As in training: the same memory format, the same numbers.
        return Network(trunk.to(memory_format=torch.channels_last) if frozen else None, head, description)

    def transform(self, image: ImageLike) -> Tensor:
        """Turns an image into what the network takes: uint8, (3, size, size).

        Args:
            image: a PIL image, a path, an array (height, width, 3) of uint8, or a tensor (3, height, width) of uint8 or
                of floats in [0, 1].

        Raises:
            DamagedImage: a file that is no image.
        """
        tensor: Tensor = torch.as_tensor(pil_to_tensor(square(_as_image(image), self.cell.size)))
        return tensor

    def embed(self, images: ImageLike | Sequence[ImageLike]) -> NDArray[np.float32]:
        """Computes the features before the projection head: (images, d).

        Args:
            images: one or many, as :meth:`transform` takes them; an array or a tensor of many has one more axis.
        """
        return np.concatenate([features for features, _ in self._outputs(images)])

    def predict_proba(self, images: ImageLike | Sequence[ImageLike]) -> NDArray[np.float32]:
        """Computes the probability of each class: (images, classes).

        A cell without a classifier (λ = 1, or no training) answers by its linear probe.

        Args:
            images: as for :meth:`embed`.

        Raises:
            UserError: the cell has neither, for it was not evaluated, or was trained for few-shot tasks.
        """
        scores = [self._probe_scores(one) if logits is None else logits for one, logits in self._outputs(images)]
        return torch.from_numpy(np.concatenate(scores)).softmax(dim=1).numpy()

    def predict(self, images: ImageLike | Sequence[ImageLike]) -> list[str]:
        """Names the most probable class of each image.

        Args:
            images: as for :meth:`embed`.
        """
        return [self.classes[column] for column in self.predict_proba(images).argmax(axis=1)]

    def _outputs(
        self, images: ImageLike | Sequence[ImageLike]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        single = isinstance(images, Image.Image | str | Path) or (
            isinstance(images, np.ndarray | Tensor) and images.ndim < 4
        )
        many: Sequence[ImageLike] = [images] if single else images  # type: ignore[list-item, assignment]
        if len(many) == 0:
            raise ValueError("there are no images.")
        with torch.inference_mode():
            for start in range(0, len(many), BATCH):
                pixels = torch.stack([self.transform(image) for image in many[start : start + BATCH]])
                features, logits = self.module(pixels.to(self.device))
                yield features.cpu().numpy(), None if logits is None else logits.cpu().numpy()

    def _probe_scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        # As ``evaluate`` saw them.
        scores: NDArray[np.float32] = features.astype(np.float16).astype(np.float32) @ self.probe[0] + self.probe[1]
        return scores

    @cached_property
    def probe(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The linear probe that ``evaluate`` stored: weights (d, classes) and biases (classes).

        Raises:
            UserError: there is none.
        """
        path = self.directory / "metrics.npz"
        arrays = np.load(path) if path.exists() else {}
        if "probe_weights" not in arrays:
            raise UserError(
                f"{self.directory}: it has no classifier and no linear probe; clce-bench evaluate makes one."
            )
        columns = np.searchsorted(arrays["probe_labels"], self._labels)
        return arrays["probe_weights"][:, columns], arrays["probe_biases"][columns]


def _as_image(image: ImageLike) -> Image.Image:
    if isinstance(image, str | Path):
        return open_image(Path(image))
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    found: Image.Image = to_pil_image(image.cpu()) if isinstance(image, Tensor) else image
    return found.convert("RGB")


def load_cell(cell: str | Path, device: str = "auto") -> TrainedCell:
    """Opens a trained cell.

    Args:
        cell: its folder, its ``cell.json``, or its name below ``results/cells``; the beginning of the name is enough
            where no other begins so.
        device: ``auto`` for the best there is, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: there is no such cell, or its training did not end well.
    """
    return TrainedCell(find_cell(cell), device)
