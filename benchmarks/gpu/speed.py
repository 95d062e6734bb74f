"""Whether the pipeline keeps the device busy: its step against a bare one, its images against the step."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.gpu.training import cell_of, network_of, step_of
from benchmarks.gpu.verdict import Setting, Verdict, in_turns, seconds_of
from clce_bench.data.augmentation import build_transform
from clce_bench.data.decode import open_image
from clce_bench.experiment.recipes import Augmentation
from clce_bench.machine import usable_cores
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


class Photos(Dataset[Tensor]):
    """JPEG files, decoded and augmented as images of large data sets are."""

    def __init__(self, files: list[Path], size: int, count: int) -> None:
        self.files, self.count = files, count
        self.transform = build_transform(Augmentation(), size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        return torch.as_tensor(self.transform(open_image(self.files[number % len(self.files)])))


def images(setting: Setting) -> Verdict:
    """Compares how many views a second all cores make with how many BEiT-3 base trains on at 224 pixels."""
    size, batch, count, (width, height) = setting.either((224, 64, 8192, (500, 375)), (32, 4, 8, (40, 30)))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.jpg") for number in range(16)]
        for file in files:
            noise = Image.frombytes("RGB", (width // 10, height // 10), os.urandom(width // 10 * (height // 10) * 3))
            noise.resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
        workers = setting.either(usable_cores(), 0)
        loader = DataLoader(Photos(files, size, count), batch, num_workers=workers)
        stream = iter(loader)
        next(stream)  # The processes have started.
        start = time.perf_counter()
        made = sum(len(found) for found in stream) / (time.perf_counter() - start)
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
    rows = [{"what": "made", "images/s": made, "per core": made / cores}, {"what": "trained", "images/s": trained}]
    said = f"{cores} cores make {made:.0f} views a second ({made / cores:.0f} a core), the step takes {trained:.0f}"
    return Verdict(setting.tiny or made >= trained, said, rows)
