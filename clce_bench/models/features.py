"""The ``features`` stage: the frozen trunk's outputs for several views per image, computed once for all cells."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clce_bench.data.augmentation import CLEAN, SUPPORT_VIEWS, Views
from clce_bench.data.prepared import TRAINING, PreparedDataset, read_division
from clce_bench.experiment.recipes import Augmentation
from clce_bench.files import read_json, sha256_of, staged, write_json
from clce_bench.models.backbone import load_backbone, split_backbone, standardise
from clce_bench.models.device import acquired_device

log = logging.getLogger(__name__)

BATCH = 64


def run_trunk(trunk: nn.Module, images: Tensor, description: dict[str, Any]) -> Tensor:
    """Computes what the frozen trunk makes of uint8 images (images, 3, height, width), float32.

    Args:
        trunk: from :func:`split_backbone`.
        images: on the trunk's device.
        description: the content of ``backbone.json``.
    """
    inputs = standardise(images, description["mean"], description["std"])
    outputs: Tensor = trunk(inputs.contiguous(memory_format=torch.channels_last))
    return outputs.float()


def in_threads(
    function: Callable[[Tensor], NDArray[np.float32]], items: Iterable[Tensor], threads: int
) -> Iterator[NDArray[np.float32]]:
    """Yields what a function makes of tensors, in their order.

    Args:
        function: called without gradients, each call on one core.
        items: made in this thread, a few ahead of what is yielded.
        threads: calls at a time.
    """
    if threads == 1:
        yield from map(function, items)
        return
    called = torch.inference_mode()(function)  # Of the caller's mode a thread knows nothing.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[NDArray[np.float32]]] = deque()
        for item in items:
            waiting.append(pool.submit(called, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        yield from (one.result() for one in waiting)


def compute_features(
    spec: dict[str, Any], inputs: dict[str, Path], output: Path, device: str = "auto", threads: int = 1
) -> None:
    """Writes ``features.npy``, ``index.npy`` and ``features.json``.

    ``features.npy`` holds float32 outputs, (entries, …): first the clean view of all images that a cell may read, then
    every augmented view of the images that it may train on, the first ones also of images that may be a few-shot
    episode's support. ``index.npy`` says which entry is which, int32
    (1 + views, images): row 0 for the clean view, row 1 + v for the augmented view v, −1 for what is not stored.

    Args:
        spec: ``augmentation``, ``backbone`` with ``freeze`` and ``cached_views``, and perhaps ``support``, the
            augmentation of images that may be a few-shot episode's support, with ``class_fold`` where classes take
            turns in that.
        inputs: the JSON files of ``dataset``, ``backbone`` and perhaps ``splits``; without it, all views of all images
            are stored.
        output: the folder to fill.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: how many batches go through the trunk at once, each on one core: the result is the same to the bit.
    """
    dataset = PreparedDataset(inputs["dataset"].parent)
    description = read_json(inputs["backbone"])
    model = load_backbone(inputs["backbone"].parent, dataset.description["size"])
    trunk, _ = split_backbone(model, spec["backbone"]["freeze"])
    count = spec["backbone"]["cached_views"]
    used = pool = np.ones(len(dataset.items), dtype=bool)
    support = ~used
    if "splits" in inputs:
        part, _, tests = read_division(inputs["splits"])
        used, pool = part != "unused", np.isin(part, TRAINING)
        if read_json(inputs["splits"])["task"] == "few-shot":
            # Which classes are novel matters only where their support is augmented in another way than training images.
            support = tests == spec["class_fold"] if "class_fold" in spec else tests >= 0
    own = Augmentation(**spec["support"]) if "support" in spec else None
    views = Views(dataset, Augmentation(**spec["augmentation"]), own, np.flatnonzero(support))
    index = np.full((1 + count, len(used)), -1, dtype=np.int32)
    stored_rows = [used, *(pool | support if view < SUPPORT_VIEWS else pool for view in range(count))]
    index[np.array(stored_rows)] = np.arange(np.sum(stored_rows))
    with acquired_device(device) as place, staged(output, last="features.json") as folder, torch.inference_mode():
        # Channels last is about twice as fast for depthwise convolutions on a CPU.
        trunk.to(place).to(memory_format=torch.channels_last)
        batches = [
            (view, rows)
            for view, present in enumerate(stored_rows, start=CLEAN)
            for rows in _full_batches(np.flatnonzero(present))
        ]
        images = (views.load(rows.tolist(), [view] * len(rows)).to(place) for view, rows in batches)
        found = in_threads(lambda batch: run_trunk(trunk, batch, description).cpu().numpy(), images, threads)
        stored: np.memmap[Any, Any] | None = None
        for number, ((view, rows), outputs) in enumerate(zip(batches, found, strict=True), start=1):
            if stored is None:
                shape = (int(index.max()) + 1, *outputs.shape[1:])
                stored = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype="float32", shape=shape)
            stored[index[view - CLEAN, rows]] = outputs
            if number == len(batches) or batches[number][0] != view:
                log.info("view %d of %d done", view - CLEAN, count)
        assert stored is not None
        stored.flush()
        np.save(folder / "index.npy", index)
        checksums = {name: sha256_of(folder / name) for name in ("features.npy", "index.npy")}
        write_json(folder / "features.json", {**spec, "shape": list(stored.shape), "sha256": checksums})


def _full_batches(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Cuts rows into batches; the last one reaches back to be full.

    Rounding depends on the size of a batch, so that otherwise an image's features would depend on how many images its
    split has.
    """
    for start in range(0, len(rows), BATCH):
        yield rows[max(0, min(start, len(rows) - BATCH)) :][:BATCH]
