"""The ``corruptions`` stage: test images under common corruptions, made once for all cells that are tested on them.

The fifteen corruptions and their strengths are those of Hendrycks and Dietterich (arXiv 1903.12261), in the form of
Michaelis et al. (arXiv 1907.07484) for images of any size from 32 pixels, as the library imagecorruptions has them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagecorruptions import corrupt, get_corruption_names
from numpy.typing import NDArray
from torch import Tensor

from clce_bench.data.prepared import PreparedDataset, read_division
from clce_bench.data.resizing import square
from clce_bench.evaluation.measured import at_most
from clce_bench.files import read_json, sha256_of, staged, write_json
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.device import acquired_device
from clce_bench.models.features import run_trunk
from clce_bench.seeds import seed_for

IMAGES = 500
"""Images of a test part, at most; of larger parts a random one, the same for all cells."""
STRENGTHS = 5
OWN_RANDOMNESS = ("impulse_noise", "glass_blur")
"""Corruptions that take a seed of their own; the others draw from numpy's global generator."""


def corrupt_images(spec: dict[str, Any], inputs: dict[str, Path], output: Path, device: str = "auto") -> None:
    """Writes ``inputs.npy``, ``rows.npy`` and ``corruptions.json``.

    ``inputs.npy`` holds what the trained part of a network takes, (images, 15, …): float32 outputs of the frozen trunk,
    or uint8 images (3, size, size) where nothing is frozen. ``rows.npy`` holds the images' rows of the data set.

    Args:
        spec: ``freeze``, the frozen trunk's last module.
        inputs: the JSON files of ``dataset``, ``splits`` and, where there is a trunk, ``backbone``.
        output: the folder to fill.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    dataset, names = PreparedDataset(inputs["dataset"].parent), get_corruption_names()
    size = dataset.description["size"]
    rows = chosen_rows(read_division(inputs["splits"]).test_fold)
    with acquired_device(device) as place, staged(output, last="corruptions.json") as folder, torch.inference_mode():
        if "backbone" in inputs:
            description = read_json(inputs["backbone"])
            trunk, _ = split_backbone(load_backbone(inputs["backbone"].parent, size), spec["freeze"])
            trunk.to(place).to(memory_format=torch.channels_last)
        stored: np.memmap[Any, Any] | None = None
        for number, row in enumerate(rows.tolist()):
            pixels = np.asarray(square(dataset.image(row), size))
            values: Tensor = torch.from_numpy(corrupted(pixels, row, names)).permute(0, 3, 1, 2)
            if "backbone" in inputs:
                values = run_trunk(trunk, values.to(place), description).cpu()
            if stored is None:
                shape, kind = (len(rows), *values.shape), str(values.numpy().dtype)
                stored = np.lib.format.open_memmap(folder / "inputs.npy", mode="w+", dtype=kind, shape=shape)
            stored[number] = values
        assert stored is not None
        stored.flush()
        np.save(folder / "rows.npy", rows)
        families = {name: get_corruption_names(name) for name in ("noise", "blur", "weather", "digital")}
        checksums = {name: sha256_of(folder / name) for name in ("inputs.npy", "rows.npy")}
        content = {"corruptions": names, "families": families, "shape": list(stored.shape), "sha256": checksums}
        write_json(folder / "corruptions.json", {**spec, **content})


def chosen_rows(test_fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chooses the images that are corrupted: of each test part all, or so many.

    Args:
        test_fold: the part with which each image tests, −1 for none, (images,).
    """
    parts = [np.flatnonzero(test_fold == part) for part in np.unique(test_fold[test_fold >= 0])]
    return np.sort(np.concatenate([rows[at_most(IMAGES, len(rows), "corruptions")] for rows in parts]))


def corrupted(pixels: NDArray[np.uint8], row: int, names: list[str]) -> NDArray[np.uint8]:
    """Applies each corruption to an image, uint8 (corruptions, size, size, 3).

    Each is applied at one strength: neighbours in the list at neighbouring ones, from one that is drawn for the image.
    So an image meets each strength three times, a corruption each one on a fifth of the images, and the mean over
    images is that over all fifteen at all five, with a fifth of the work.

    Args:
        pixels: uint8, (size, size, 3).
        row: of the data set, from which strengths and randomness follow.
        names: of the corruptions.
    """
    first = seed_for("corruption strength", image=row) % STRENGTHS
    found = np.empty((len(names), *pixels.shape), dtype=np.uint8)
    for place, name in enumerate(names):
        seed = seed_for("corruption", image=row, corruption=name) % 2**32
        np.random.seed(seed)
        own = {"seed": seed} if name in OWN_RANDOMNESS else {}
        found[place] = corrupt(pixels, severity=1 + (first + place) % STRENGTHS, corruption_name=name, **own)
    return found
