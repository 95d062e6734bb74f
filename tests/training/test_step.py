"""What a recipe asks of an optimisation step."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Recipe, Runtime
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training import step as step_module
from clce_bench.training.optimization import layer_scales, learning_rate, parameter_groups, set_learning_rate
from clce_bench.training.step import Batch, Diverged, TrainStep

LABELS, INSTANCE_IDS = torch.arange(24) % 4, torch.arange(24) % 12


def cell(weight=0.5, **recipe):
    grid = {"name": "main", "dataset": "tiny", "loss": "clce", "lambda": weight, "batch_size": 12}
    values = {"learning_rate": 0.01, "warmup": 0, **recipe}
    experiment = {"name": "test", "grids": [grid], "recipe": values}
    return union(cells_of(parse_experiment(experiment, "test.yaml")))[0]


def train_step(weight=0.5, runtime=None, **recipe):
    own = cell(weight, **recipe)
    torch.manual_seed(0)
    tail = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.Dropout(0.2), nn.ReLU())
    model = ContrastiveClassifier(tail, 16, 4, own.contrastive_weight, own.recipe, seed=0)
    loss = FusedLoss(create_loss("clce") if weight else None, weight, own.recipe.label_smoothing)
    return TrainStep(model.train(), loss, own, runtime or Runtime(), classes=4)


def inputs():
    return torch.randn(24, 10, generator=torch.Generator().manual_seed(1))


def run(taking, steps=5):
    torch.manual_seed(2)
    losses = []
    for number in range(steps):
        set_learning_rate(taking.optimizer, learning_rate(taking.cell.recipe, 64, number, 100))
        losses.append(taking(number, Batch(inputs(), LABELS, INSTANCE_IDS)))
    return losses, torch.cat([value.detach().ravel() for value in taking.model.parameters()])


RECIPES = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.5},
    "lars": {"optimizer": "lars", "learning_rate": 0.1},
    "lamb": {"optimizer": "lamb"},
    "muon": {"optimizer": "muon", "optimizer_options": {"nesterov": False}},
    "adopt": {"optimizer": "adopt"},
    "layers": {"head": {"layers": 3, "width": 24, "norm": "batch", "activation": "gelu"}},
    "cosine": {"classifier": "cosine"},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "ema": {"ema": 0.9},
    "clipped": {"clip_gradient": 0.1},
    "smoothed": {"label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_kind_of_step_lowers_the_loss(name):
    losses, weights = run(train_step(**RECIPES[name]), 15)
    assert losses[-1] < losses[0]
    assert torch.isfinite(weights).all()


@pytest.mark.parametrize("micro_batch", [5, 24])
def test_micro_batches_change_no_gradient(micro_batch):
    def without_dropout(taking):
        taking.model.tail[2].p = 0.0
        return run(taking)

    losses, weights = without_dropout(train_step())
    split_losses, split_weights = without_dropout(train_step(runtime=Runtime(micro_batch=micro_batch)))
    assert split_losses == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(split_weights, weights, rtol=1e-4, atol=1e-5)


def test_micro_batches_shrink_until_they_fit(monkeypatch):
    whole = step_module.cached_backward
    tried = []

    def small_memory(model, batch, loss, micro_batch):
        tried.append(micro_batch)
        if micro_batch > 7:
            raise torch.OutOfMemoryError("does not fit")
        return whole(model, batch, loss, micro_batch)

    monkeypatch.setattr(step_module, "cached_backward", small_memory)
    taking = train_step(runtime=Runtime(micro_batch="auto"))
    losses, _ = run(taking, 2)
    assert tried == [24, 12, 6, 6]
    monkeypatch.undo()
    assert losses == run(train_step(runtime=Runtime(micro_batch=6)), 2)[0]
    monkeypatch.setattr(step_module, "cached_backward", small_memory)
    with pytest.raises(torch.OutOfMemoryError):
        run(train_step(runtime=Runtime(micro_batch=12)))


def test_clipping_bounds_the_step():
    before = torch.cat([value.detach().ravel() for value in train_step().model.parameters()])
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}
    _, free = run(train_step(**plain, reference_batch_size=12), 1)
    _, clipped = run(train_step(**plain, clip_gradient=1e-3), 1)
    assert (clipped - before).norm() == pytest.approx(1e-3, rel=1e-3)
    assert (free - before).norm() > 1e-2


def test_the_average_is_what_is_evaluated():
    taking = train_step(ema=0.5)
    run(taking, 3)
    averaged = taking.eval_model.classifier.weight
    assert not torch.equal(averaged, taking.model.classifier.weight)
    assert train_step().eval_model is not None
    resumed = train_step(ema=0.5)
    resumed.load(taking.state())
    assert torch.equal(resumed.eval_model.classifier.weight, averaged)


def test_mixed_batches_have_their_own_randomness():
    state = np.random.get_state()[1].copy()
    losses, weights = run(train_step(weight=0, mixup=0.8, cutmix=0.0))
    assert (np.random.get_state()[1] == state).all()
    again, same = run(train_step(weight=0, mixup=0.8, cutmix=0.0))
    assert losses == again
    assert torch.equal(weights, same)
    assert losses != run(train_step(weight=0))[0]


def test_a_loss_that_is_not_finite_changes_no_weight():
    taking = train_step()
    before = [value.clone() for value in taking.model.parameters()]
    with pytest.raises(Diverged, match="the loss was nan"):
        taking(0, Batch(inputs() * torch.nan, LABELS, INSTANCE_IDS))
    assert all(map(torch.equal, before, taking.model.parameters()))


def test_a_compiled_step_equals_the_plain_one(monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = run(train_step(runtime=Runtime(compile=True)), 2)
    torch.testing.assert_close(compiled[1], run(train_step(), 2)[1])


def test_a_failing_compiler_is_named(monkeypatch):
    def fails(_graph, _inputs):
        raise RuntimeError("No working C++ compiler found in (None, 'g++').")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fails))
    with pytest.raises(UserError, match=r"runtime.compile: true: torch.compile fails here: No working C\+\+ compiler"):
        run(train_step(runtime=Runtime(compile=True)), 1)


class Layers(nn.Module):
    """A backbone as timm's are: two blocks, position embeddings that do not decay."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 4, 8))
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def no_weight_decay(self):
        return {"position"}

    def group_matcher(self, coarse=False):
        return {"stem": r"^position", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_deep_layers_learn_slowly_and_only_matrices_decay(layer_decay):
    recipe = Recipe(layer_decay=layer_decay, weight_decay=0.05)
    tail = Layers()
    scales = layer_scales(tail, layer_decay) if layer_decay < 1 else {}
    tail.head = nn.Identity()
    model = ContrastiveClassifier(tail, 8, 3, 0.5, recipe, seed=0)
    groups = parameter_groups(model, nn.Identity(), recipe, scales)
    found = {id(value): group for group in groups for value in group["params"]}
    assert len(found) == len(list(model.parameters()))
    scales = {name: found[id(value)]["lr_scale"] for name, value in model.named_parameters()}
    decays = {name for name, value in model.named_parameters() if found[id(value)]["weight_decay"]}
    assert scales["tail.position"] == layer_decay**3
    assert scales["tail.blocks.0.weight"] == layer_decay**2
    assert scales["tail.blocks.1.bias"] == layer_decay
    assert scales["tail.norm.weight"] == layer_decay
    assert scales["classifier.weight"] == scales["projection.2.bias"] == 1
    matrices = {"tail.blocks.0.weight", "tail.blocks.1.weight"}
    assert decays == matrices | {"classifier.weight", "projection.0.weight", "projection.2.weight"}
