"""What training does with every registered loss, the next one too: it learns, and it continues where it stopped."""

import pytest
import torch

from clce_bench.components.loss_info import LOSSES
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.step import Batch, TrainStep
from tests.training.test_step import INSTANCE_IDS, LABELS, inputs

CASES = [("ce", 0.0), *((name, weight) for name, info in LOSSES.items() if info.path for weight in (0.5, 1.0))]


def stepping(name, weight):
    grid = {"name": "main", "dataset": "digits", "loss": name, "lambda": weight, "batch_size": 12}
    recipe = {"learning_rate": 0.01, "warmup": 0, "views": 2, "projection_size": 8}
    (cell,) = union(cells_of(parse_experiment({"name": "test", "grids": [grid], "recipe": recipe}, "test.yaml")))
    torch.manual_seed(0)
    model = ContrastiveClassifier(torch.nn.Linear(10, 16), 16, 4, cell.contrastive_weight, cell.recipe, seed=0)
    loss = FusedLoss(contrastive_loss(cell), cell.contrastive_weight, 0.0, cell.self_supervised)
    return TrainStep(model.train(), loss, cell, Runtime(), classes=4)


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
    for ours, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
