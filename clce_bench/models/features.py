"""The ``features`` stage: the frozen trunk's outputs for several views per image, computed once for all cells."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clce_bench.config import Augmentation
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepared import PreparedDataset
from clce_bench.files import read_json, sha256_of, staged, write_json
from clce_bench.models.backbone import load_backbone, normalise, split_backbone
from clce_bench.models.device import pick_device

log = logging.getLogger(__name__)

BATCH = 64


def run_trunk(trunk: nn.Module, images: Tensor, description: dict[str, Any]) -> Tensor:
    """Computes what the frozen trunk makes of uint8 images (images, 3, height, width), float32.

    Args:
        trunk: from :func:`split_backbone`.
        images: on the trunk's device.
        description: the content of ``backbone.json``.
    """
    inputs = normalise(images, description["mean"], description["std"])
    outputs: Tensor = trunk(inputs.contiguous(memory_format=torch.channels_last))
    return outputs.float().contiguous()


def compute_features(spec: dict[str, Any], data: Path, backbone: Path, output: Path) -> None:
    """Writes ``features.npy``, float32 (1 + views, images, …), and ``features.json``.

    Index 0 of the first axis is the clean view, index 1 + v the augmented view v.

    Args:
        spec: ``augmentation`` and ``backbone`` with ``freeze`` and ``cached_views``.
        data: the prepared data set.
        backbone: the prepared backbone.
        output: the folder to fill.
    """
    dataset = PreparedDataset(data)
    description = read_json(backbone / "backbone.json")
    device = pick_device()
    trunk, _ = split_backbone(load_backbone(backbone), spec["backbone"]["freeze"])
    # Channels last is about twice as fast for depthwise convolutions on a CPU.
    trunk.to(device).to(memory_format=torch.channels_last)
    views = Views(dataset.pixels, Augmentation(**spec["augmentation"]), dataset.description["name"])
    count, images = spec["backbone"]["cached_views"], len(dataset.pixels)
    with staged(output, last="features.json") as folder, torch.inference_mode():
        stored: np.memmap[Any, Any] | None = None
        for index, view in enumerate([CLEAN, *range(count)]):
            for start in range(0, images, BATCH):
                rows = range(start, min(start + BATCH, images))
                outputs = run_trunk(trunk, views(rows, [view] * len(rows)).to(device), description).cpu().numpy()
                if stored is None:
                    stored = np.lib.format.open_memmap(
                        folder / "features.npy",
                        mode="w+",
                        dtype="float32",
                        shape=(1 + count, images, *outputs.shape[1:]),
                    )
                stored[index, rows.start : rows.stop] = outputs
            log.info("view %d of %d done", index, count)
        assert stored is not None
        stored.flush()
        checksum = {"features.npy": sha256_of(folder / "features.npy")}
        write_json(folder / "features.json", {**spec, "shape": list(stored.shape), "sha256": checksum})
