"""What training does with every registered loss, the next one too: it learns, and it continues where it stopped."""

import math

import pytest
import torch

from clce_bench.components.loss_info import LOSSES
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training import step as step_module
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.momentum_encoder import momentum_encoder
from clce_bench.training.step import Batch, TrainStep
from tests.training.test_step import INSTANCE_IDS, LABELS, inputs

CASES = [("ce", 0.0), *((name, weight) for name, info in LOSSES.items() if info.path for weight in (0.5, 1.0))]


def stepping(name, weight, runtime=None):
    grid = {"name": "main", "dataset": "digits", "loss": name, "lambda": weight, "batch_size": 12}
    recipe = {"learning_rate": 0.01, "warmup": 0, "views": 2, "projection_size": 8}
    (cell,) = union(cells_of(parse_experiment({"name": "test", "grids": [grid], "recipe": recipe}, "test.yaml")))
    torch.manual_seed(0)
    model = ContrastiveClassifier(torch.nn.Linear(10, 16), 16, 4, cell.contrastive_weight, cell.recipe, seed=0)
    loss = FusedLoss(contrastive_loss(cell), cell.contrastive_weight, 0.0, cell.self_supervised)
    follower = momentum_encoder(model, loss, steps=8)
    return TrainStep(model.train(), loss, cell, runtime or Runtime(), classes=4, momentum_encoder=follower)


def steps(taking, numbers):
    return [float(taking(number, Batch(inputs(), LABELS, INSTANCE_IDS))) for number in numbers]


@pytest.mark.parametrize(("name", "weight"), CASES)
def test_every_loss_falls_and_continues_where_it_stopped(name, weight):
    whole, first, second = (stepping(name, weight) for _ in range(3))
    values = steps(whole, range(8))
    assert all(map(torch.isfinite, torch.tensor(values)))
    assert values[-1] < values[0]
    steps(first, range(4))
    second.load(first.state())
    assert steps(second, range(4, 8)) == values[4:]
    assert_equal(second.state(), whole.state())


def assert_equal(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    else:
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs


@pytest.mark.parametrize("name", ["simsiam", "byol", "moco"])
def test_micro_batches_change_nothing_of_what_a_loss_asks_for(name):
    whole, split = stepping(name, 1.0), stepping(name, 1.0, Runtime(micro_batch=7))
    assert steps(split, range(4)) == pytest.approx(steps(whole, range(4)), rel=1e-5)
    for ours, theirs in zip(split.loss.state_dict().values(), whole.loss.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_step_that_runs_out_of_memory_remembers_its_keys_once(monkeypatch):
    cached = step_module.cached_backward

    def small_memory(model, batch, loss, micro_batch):
        value = cached(model, batch, loss, micro_batch)
        if micro_batch > 12:
            raise torch.OutOfMemoryError("does not fit")
        return value

    monkeypatch.setattr(step_module, "cached_backward", small_memory)
    shrunk = stepping("moco", 1.0, Runtime(micro_batch="auto"))
    steps(shrunk, range(2))
    monkeypatch.undo()
    plain = stepping("moco", 1.0, Runtime(micro_batch=12))
    steps(plain, range(2))
    assert torch.equal(shrunk.loss.contrastive.queue, plain.loss.contrastive.queue)


@pytest.mark.parametrize(("name", "schedule"), [("moco", lambda step: 0.999), ("byol", lambda step: byol(step / 8))])
def test_a_momentum_encoder_follows_as_its_loss_says(name, schedule):
    taking = stepping(name, 1.0)
    follower = dict(taking.momentum_encoder.model.named_parameters())
    expected = {key: value.double().clone() for key, value in follower.items()}
    assert not any(key.startswith("classifier") for key in expected)
    for step in range(3):
        steps(taking, [step])
        for key, value in taking.model.named_parameters():
            expected[key] = schedule(step) * expected[key] + (1 - schedule(step)) * value.detach().double()
    for key, value in follower.items():
        torch.testing.assert_close(value.double(), expected[key], rtol=1e-5, atol=1e-7)


def byol(progress):
    return 1 - (1 - 0.996) * (math.cos(math.pi * progress) + 1) / 2


def test_all_other_losses_have_none():
    assert stepping("clce", 0.5).momentum_encoder is None
    assert stepping("ce", 0.0).momentum_encoder is None
