"""Whether the pipeline keeps the device busy: its step against a bare one, its images against the step."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.gpu.training import cell_of, network_of, step_of
from benchmarks.gpu.verdict import Setting, Verdict, in_turns, seconds_of, synchronise
from clce_bench.data.decode import open_image
from clce_bench.data.prepared import PreparedDataset
from clce_bench.experiment.recipes import named
from clce_bench.machine import usable_cores
from clce_bench.training.inputs import ComputedInputs
from clce_bench.training.step import Batch

GOAL = 1.05
"""A step with two losses and two heads takes at most so many times as long as a bare one."""


def bare_step(model: Any, images: Tensor, labels: Tensor, precision: torch.dtype) -> Callable[[], object]:
    """Prepares a plain step on a network with a classifier: forward, cross-entropy, backward, AdamW."""
    model.to(images.device).to(memory_format=torch.channels_last).train()
    for module in model.modules():  # As in a cell, whose recipe keeps the statistics.
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
            inputs = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(model(inputs).float(), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def step(setting: Setting) -> Verdict:
    """Takes turns between a CLCE step and a bare loop of the same network with cross-entropy, both in bfloat16."""
    size, batch, rounds = setting.either((224, 64, 40), (32, 4, 2))
    taking = step_of(cell_of(size, batch, precision="bfloat16"), setting)
    images = torch.randint(256, (2 * batch, 3, size, size), dtype=torch.uint8, device=setting.device)
    ids = torch.arange(2 * batch, device=setting.device) % batch
    bare = bare_step(network_of(setting, 10, size), images, ids % 10, torch.bfloat16)
    taken = in_turns((lambda: taking(0, Batch(images, ids % 10, ids)), bare), setting.device, rounds + 3)[3:]
    ratio = statistics.median(own / other for own, other in taken)
    own, other = (statistics.median(times) for times in zip(*taken, strict=True))
    rows = [{"step": "CLCE", "steps/s": 1 / own}, {"step": "bare", "steps/s": 1 / other}]
    # On a CPU, and with a network this small, the heads count for more.
    return Verdict(setting.tiny or ratio <= GOAL, f"{ratio:.3f} × a bare step (goal {GOAL})", rows)


class Photos(PreparedDataset):
    """JPEG files, decoded for each view as those of large data sets are."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.files, self.description = [str(path) for path in paths], {"name": "photos", "size": size}

    def __reduce__(self) -> tuple[Any, ...]:
        return Photos, ([Path(file) for file in self.files], self.description["size"])

    def image(self, row: int) -> Image.Image:
        """Decodes one."""
        return open_image(Path(self.files[row]))


def views_a_second(data: Photos, batch: int, count: int, backend: str, workers: int, device: torch.device) -> float:
    """Makes augmented views as training does, and measures once the first batch is there: processes have started."""
    cell = cell_of(
        data.description["size"], batch, augmentation={**named("augmentations")["simclr"], "backend": backend}
    )
    inputs = ComputedInputs(cell, data, nn.Identity(), {}, device, workers=workers)
    rows = (np.arange(start, start + batch) % len(data.files) for start in range(0, count + batch, batch))
    stream = inputs.stream((own, np.full(batch, view)) for view, own in enumerate(rows))
    next(stream)
    synchronise(device)
    start = time.perf_counter()
    made = sum(len(views) for views in stream)
    synchronise(device)
    return made / (time.perf_counter() - start)


def images(setting: Setting) -> Verdict:
    """Compares how many views a second all cores make with how many BEiT-3 base trains on at 224 pixels.

    SimCLR's augmentation, all of it by Pillow, or but for decoding and scaling on the device.
    """
    size, batch, count, (width, height) = setting.either((224, 64, 8192, (500, 375)), (32, 4, 8, (40, 30)))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.jpg") for number in range(16)]
        for file in files:
            noise = Image.frombytes("RGB", (width // 10, height // 10), os.urandom(width // 10 * (height // 10) * 3))
            noise.resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
        workers = setting.either(usable_cores(), 0)
        made = {
            backend: views_a_second(Photos(files, size), batch, count, backend, workers, setting.device)
            for backend in ("pil", "tensor")
        }
    name = setting.either("beit3_base_patch16_224", "test_vit")
    model: Any = timm.create_model(name, num_classes=100, img_size=size).to(setting.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs = torch.randn(batch, 3, size, size, device=setting.device)

    def train() -> None:
        optimizer.zero_grad()
        reduced = torch.autocast("cuda", torch.bfloat16) if setting.device.type == "cuda" else contextlib.nullcontext()
        with reduced:
            outputs = model(inputs)
        outputs.float().logsumexp(1).mean().backward()
        optimizer.step()

    train()
    trained = batch / seconds_of(train, setting.device, setting.either(2.0, 0.0))
    cores = max(workers, 1)
    rows: list[dict[str, Any]] = [
        {"what": f"made, backend: {backend}", "images/s": rate, "per core": rate / cores}
        for backend, rate in made.items()
    ]
    rows.append({"what": "trained", "images/s": trained})
    said = (
        f"{cores} cores make {made['pil']:.0f} views a second ({made['pil'] / cores:.0f} a core), with backend: tensor"
        f" {made['tensor']:.0f} ({made['tensor'] / cores:.0f}); the step takes {trained:.0f}"
    )
    return Verdict(setting.tiny or max(made.values()) >= trained, said, rows)
