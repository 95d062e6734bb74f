"""A step asks its device for one number, so that a GPU need not wait for Python; loaders live as long as training."""

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from clce_bench.components.registry import LOSSES
from clce_bench.data.batched_augmentation import Changes, change, work_out
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.view_parameters import View
from clce_bench.experiment.recipes import Runtime
from clce_bench.training.batches import TrainBatches
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.inputs import ComputedInputs
from clce_bench.training.loop import fit
from tests.losses.references import called, create
from tests.training.test_step import LABELS, RECIPES, cell, inputs, train_step

READ = "aten::_local_scalar_dense"
"""What `.item()`, `bool()` and `float()` of a tensor come down to."""
EPOCHS, STEPS = 2, 2


def reads(work):
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    # The CPU's kernel of AdamW reads its own counters, which lie on the CPU.
    return sum(event.name == READ and "aten::_fused_adamw_" not in around(event) for event in profiler.events())


def around(event):
    while event := event.cpu_parent:
        yield event.name


class MadeUp:
    """Inputs that are there, for as many steps as are asked for."""

    views = None

    def stream(self, batches):
        for _ in batches:
            yield inputs()


@pytest.mark.parametrize("name", ["adamw", "sgd", "float16", "ema", "clipped", "micro-batches", "mixed"])
def test_training_reads_one_number_a_step(tmp_path, name):
    more = {"weight": 0, "mixup": 0.8} if name == "mixed" else {"views": 2}
    runtime = Runtime(micro_batch=5) if name == "micro-batches" else Runtime()
    taking = train_step(runtime=runtime, **{**more, **RECIPES.get(name, {}), "epochs": EPOCHS})
    batches = TrainBatches(taking.cell, MadeUp(), np.arange(12 * STEPS), torch.arange(12 * STEPS) % 4)
    found = reads(lambda: fit(taking, batches, lambda: 0.5, Checkpoints(tmp_path, "", 1e9)))
    assert found == EPOCHS * STEPS


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ce", "none"}))
def test_losses_read_nothing(name):
    loss = create(name, 8).float()
    embeddings = torch.randn(24, 8, requires_grad=True)
    assert reads(lambda: called(loss, embeddings, LABELS).backward()) == 0


def test_batches_that_are_augmented_together_read_nothing():
    square = (0, 0, 16, 16)
    views = [View(square, 10.0, (1, 2), True, (("hue", 0.2), ("contrast", 0.5))), View(square), View(square, 5.0)]
    changes = Changes.of([work_out(view, 16, 16, 16) for view in views])
    assert reads(lambda: change(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), changes)) == 0


@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_loaders_live_as_long_as_training(tmp_path, backend):
    prepare_dataset({"dataset": "tiny", "size": 16}, tmp_path)
    own, data = cell(augmentation={"rotation": 20, "hue": 0.1, "backend": backend}), PreparedDataset(tmp_path)
    batches = [(np.arange(4), np.full(4, view)) for view in range(3)]
    trunk, cpu = torch.nn.Identity(), torch.device("cpu")
    there, beside = (ComputedInputs(own, data, trunk, {}, cpu, workers=workers) for workers in (0, 1))
    there.views = beside.views = None
    processes = []
    for chosen in (batches, batches[:2], batches):
        found = list(beside.stream(chosen))
        processes += [worker.pid for worker in beside.loader._iterator._workers]
        assert all(map(torch.equal, found, there.stream(chosen)))
        assert len(found) == len(chosen)
    assert len(set(processes)) == 1
