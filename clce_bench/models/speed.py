"""How fast a device trains a cell and makes its views, by doing so for a second."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clce_bench.data.augmentation import Augmenter, LoadedViews
from clce_bench.experiment.cells import Cell
from clce_bench.models.backbone import split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.profiling import Speed, bare_model, counter

LARGEST_BATCH = 128
"""Of a measurement, which takes smaller ones where a step is slow."""
VIEWS = 16
"""That are timed together, several times."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def measure(cell: Cell, classes: int, device: torch.device, seconds: float = 1.0) -> Speed:
    """Measures a GPU, or one core, as a cell gets. Of a core the time counts that it had for this, not what others had.

    Args:
        cell: its backbone, image size, augmentation and precision count; its batch is smaller here.
        classes: of the classifier.
        device: where.
        seconds: for how long, at least.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    backbone = bare_model(cell.backbone, cell.size)
    trunk, tail = split_backbone(backbone, cell.backbone.freeze)
    model = ContrastiveClassifier(tail, backbone.num_features, classes, 0.5, cell.recipe, seed=0).to(device).train()
    trunk.to(device).to(memory_format=torch.channels_last)
    if cell.backbone.freeze == "none":
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    augmenter = Augmenter(cell.augmentation, cell.size)
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (cell.size, cell.size, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)

    def views(number: int) -> Tensor:
        images = LoadedViews.of(augmenter(picture) for _ in range(number)).to(device).float() / 255
        with torch.inference_mode():
            outputs: Tensor = trunk(images.contiguous(memory_format=torch.channels_last)).float()
        return outputs.clone()

    def step(inputs: Tensor) -> None:
        with torch.autocast(device.type, PRECISIONS[cell.recipe.precision], enabled=cell.recipe.precision != "float32"):
            outputs = model(inputs)
        sum(output.float().sum() for output in outputs[1:]).backward()
        optimizer.step()
        optimizer.zero_grad()

    inputs = views(8)
    step(inputs)  # The first one makes room and chooses kernels.
    while len(inputs) < LARGEST_BATCH and _taken(partial(step, inputs), device) < seconds / 8:
        inputs = torch.cat([inputs, inputs])
    with counter() as counted:
        step(inputs)
    operations: int = counted.get_total_flops()
    training = operations / _shortest(partial(step, inputs), device, seconds)
    view = _shortest(partial(views, VIEWS), device, seconds / 2) / VIEWS
    torch.set_num_threads(threads)
    return Speed(training, view)


def _shortest(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Repeats some work and returns the fewest seconds it takes: other work on the machine only adds to them."""
    times: list[float] = []
    while sum(times) < seconds:
        times.append(_taken(work, device))
    return min(times)


def _taken(work: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started
