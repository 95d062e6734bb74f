"""Optimisers by timm's names: those that its registry has, each a step as timm itself makes it."""

import pytest
import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers

from clce_bench.components.optimizers import arguments_of, optimizers
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.planning.plan import plan_of
from clce_bench.training.optimization import build_optimizer


def experiment(**recipe):
    grid = {"name": "main", "dataset": "digits", "loss": "clce"}
    return parse_experiment({"name": "test", "grids": [grid], "recipe": recipe}, "test.yaml")


def cell(**recipe):
    return union(cells_of(experiment(**recipe)))[0]


def test_the_names_are_those_of_timms_registry():
    registered = [get_optimizer_info(name) for name in list_optimizers()]
    own = {info.name: info for info in registered if not isinstance(info.opt_class, str) and not info.second_order}
    assert set(own) <= set(optimizers()) >= {"adamw", "sgd", "lars", "lamb", "muon", "adopt"}
    for name, info in own.items():
        path = optimizers()[name].partition(":")[2]
        assert path == info.opt_class.__name__
        assert ("momentum" in arguments_of(name)) >= info.has_momentum


@pytest.mark.parametrize("name", sorted(set(optimizers()) - {"adamw", "sgd"}))
def test_each_takes_the_step_that_timm_takes(name):
    def stepped(make):
        torch.manual_seed(0)
        layer = torch.nn.Linear(6, 4)
        optimizer = make(layer)
        torch.manual_seed(1)
        for _ in range(2):
            optimizer.zero_grad()
            layer(torch.ones(3, 6)).square().sum().backward()
            optimizer.step()
        return layer.weight.detach()

    own = cell(optimizer=name, learning_rate=0.01, weight_decay=0.0)

    def ours(layer):
        model = ContrastiveClassifier(layer, 4, 3, 0.5, own.recipe, seed=0)
        return build_optimizer(model, FusedLoss(create_loss("clce"), 0.5), own)

    def theirs(layer):
        return create_optimizer_v2(layer, name, lr=0.01, weight_decay=0.0)

    with torch.compiler.set_stance("force_eager"):  # One of them compiles its step, which takes half a minute.
        assert torch.equal(stepped(ours), stepped(theirs))


def test_options_reach_the_optimizer():
    own = cell(optimizer="lamb", optimizer_options={"betas": [0.8, 0.95]})
    model = ContrastiveClassifier(torch.nn.Linear(6, 4), 4, 3, 0.5, own.recipe, seed=0)
    groups = build_optimizer(model, FusedLoss(create_loss("clce"), 0.5), own).param_groups
    assert all(tuple(group["betas"]) == (0.8, 0.95) for group in groups)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": "lam"}, "'lam' is not an optimiser. Did you mean 'lamb'"),
        ({"optimizer": "adahessian"}, "'adahessian' is not an optimiser"),
        (
            {"optimizer": "lamb", "optimizer_options": {"beta": 1}},
            "'beta' is not an option of lamb. Did you mean 'betas'",
        ),
        ({"optimizer_options": {"lr": 1}}, "recipe.optimizer_options: 'lr' is not an option of adamw"),
        ({"head": {"layer": 3}}, "head.*'layer' is not a key. Did you mean 'layers'"),
        ({"classifier": "cosin"}, "classifier"),
    ],
)
def test_mistakes_are_named_before_anything_runs(recipe, message):
    with pytest.raises(UserError, match=message):
        plan_of(experiment(**recipe))


def test_cells_without_these_keys_are_what_they_were():
    plain = cell()
    assert not {"head", "classifier", "optimizer_options", "momentum"} & set(plain.spec["recipe"])
    assert cell(head={"layers": 2}, classifier="linear", optimizer_options={}) == plain
    assert cell(optimizer="lamb").spec["recipe"].keys() == plain.spec["recipe"].keys()
    assert "momentum" in cell(optimizer="lars").spec["recipe"]
    deep = cell(head={"layers": 3})
    assert deep.spec["recipe"]["head"] == {"layers": 3, "width": None, "norm": "none", "activation": "relu"}
    assert deep.name != plain.name
