"""Projection heads and classifiers, written out layer by layer."""

import pytest
import torch
import torch.nn.functional as F

from clce_bench.errors import UserError
from clce_bench.experiment.recipes import Head, Recipe, Runtime
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.heads import CosineClassifier, projection_head
from clce_bench.training.build import _check
from tests.training.test_step import cell

INPUTS = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))


def test_a_head_is_its_layers():
    torch.manual_seed(0)
    head = projection_head(Head(layers=3, width=5, norm="batch", activation="gelu"), 6, 4)
    state = head.state_dict()
    hidden = INPUTS
    for place in ("0", "3"):
        hidden = F.linear(hidden, state[f"{place}.weight"], state[f"{place}.bias"])
        hidden = F.gelu((hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt())
    torch.testing.assert_close(head(INPUTS), F.linear(hidden, state["6.weight"], state["6.bias"]))
    single = projection_head(Head(layers=1), 6, 4)
    assert [tuple(value.shape) for value in single.parameters()] == [(4, 6), (4,)]
    normed = projection_head(Head(norm="layer", activation="silu"), 6, 4)
    hidden = F.silu(F.layer_norm(normed[0](INPUTS), (6,)))
    torch.testing.assert_close(normed(INPUTS), normed[3](hidden))


def test_logits_of_a_cosine_classifier_are_scaled_cosines():
    classifier = CosineClassifier(6, 3)
    cosines = torch.stack([F.cosine_similarity(INPUTS, row[None], dim=1) for row in classifier.weight], dim=1)
    torch.testing.assert_close(classifier(INPUTS), 10 * cosines)
    torch.testing.assert_close(classifier(INPUTS * 7), classifier(INPUTS))
    classifier(INPUTS).sum().backward()
    assert classifier.scale.grad is not None


def test_frozen_statistics_are_the_backbones_only():
    tail = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6))
    model = ContrastiveClassifier(tail, 6, 3, 0.5, Recipe(head=Head(norm="batch")), seed=0).train()
    assert not tail[1].training
    assert model.projection[1].training


@pytest.mark.parametrize("runtime", [Runtime(micro_batch=4), Runtime(micro_batch="auto")])
def test_statistics_of_a_part_of_the_batch_are_refused(runtime):
    with pytest.raises(UserError, match="recipe.head.norm: 'batch' is not allowed with runtime.micro_batch"):
        _check(cell(head={"norm": "batch"}), runtime)
    _check(cell(head={"norm": "layer"}), runtime)
