"""What every registered loss does, the next one too: each test runs for each line of the table of losses."""

import inspect
import math

import pytest
import torch

import clce_bench.losses
from clce_bench.components.hyperparameters import hyperparameters_of, is_self_supervised
from clce_bench.components.loss_info import LOSSES, loss_order
from clce_bench.components.registry import load, loss_path
from clce_bench.errors import UserError
from clce_bench.losses import ContrastiveLoss, create_loss
from clce_bench.losses.views import ViewLoss
from tests.helpers.miniature import ROOT
from tests.losses.references import (
    CASES,
    TARGET_CASES,
    VIEW_CASES,
    called,
    create,
    loop,
    make,
    random_embeddings,
)

NAMES = [name for name, info in LOSSES.items() if info.path]
OF_PAIRS = [name for name in NAMES if issubclass(load(loss_path(name)), ContrastiveLoss)]
OF_VIEWS = [name for name in NAMES if issubclass(load(loss_path(name)), ViewLoss)]
LABELS = torch.tensor([2, 0, 1, 0, 2, 0, 1, 3])
SETTING = (0.4, 0.7, 1.5)


def numerical_gradient(function, embeddings, step=1e-5):
    gradient = torch.zeros_like(embeddings)
    for place in range(embeddings.numel()):
        moved = [embeddings.clone() for _ in range(2)]
        moved[0].view(-1)[place] += step
        moved[1].view(-1)[place] -= step
        gradient.view(-1)[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient


def test_every_registered_loss_has_a_loop_to_be_tested_against():
    assert {case.split()[0] for case in CASES} == set(OF_PAIRS)
    assert {*VIEW_CASES, *TARGET_CASES} == set(OF_VIEWS)
    assert sorted(OF_PAIRS + OF_VIEWS) == sorted(NAMES)


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_those_of_the_loop(case):
    hyperparameters, reference = (of(*SETTING) for of in CASES[case])
    embeddings = random_embeddings(len(LABELS), 31, dimensions=3).requires_grad_()
    value = create_loss(case.split()[0], **hyperparameters)(embeddings, LABELS)
    value.backward()

    def written_out(rows):
        return loop(rows, LABELS.tolist(), reference)

    assert value.item() == pytest.approx(written_out(embeddings.detach()), rel=1e-12)
    numerical = numerical_gradient(written_out, embeddings.detach())
    torch.testing.assert_close(embeddings.grad, numerical, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_rotation_length_order_and_names_of_classes_do_not_matter(case):
    embeddings, loss = random_embeddings(len(LABELS), 32), make(case)
    rotation, _ = torch.linalg.qr(random_embeddings(5, 33))
    order = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(1, len(LABELS) + 1)[:, None]
    expected = loss(embeddings, LABELS).item()
    for rows, labels in (
        (embeddings @ rotation, LABELS),
        (embeddings * lengths, LABELS),
        (embeddings[order], LABELS[order]),
        (embeddings, 100 - 7 * LABELS),
    ):
        assert loss(rows, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_documented_and_shown_as_nothing_else(name):
    info = LOSSES[name]
    kind = load(loss_path(name))
    assert getattr(clce_bench.losses, kind.__name__) is kind
    assert kind.__name__ in clce_bench.losses.__all__
    assert f"| `{name}` |" in (ROOT / "docs" / "losses.md").read_text()
    for others in (other for key, other in LOSSES.items() if key != name):
        assert not {info.label, info.color, info.marker} & {others.label, others.color, others.marker}
    assert LOSSES["ce"].label == "CE"
    assert 0 == loss_order("ce") < loss_order(name) < loss_order("my_loss:Mine")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_from_its_source_is_what_it_is(name):
    kind = load(loss_path(name))
    parameters = inspect.signature(kind).parameters.values()
    named = {
        one.name: ... if one.default is one.empty else one.default
        for one in parameters
        if one.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert hyperparameters_of(loss_path(name)) == named
    assert is_self_supervised(loss_path(name)) is kind.self_supervised


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, "red", None, True, 10**400], ids=repr)
def test_each_hyperparameter_refuses_what_is_out_of_its_range_by_name(name, value):
    for key in hyperparameters_of(loss_path(name)):
        with pytest.raises(ValueError, match=rf"^{key}: .* is not allowed\. Allowed: "):
            create(name, **{key: value})


@pytest.mark.parametrize("name", NAMES)
def test_options_and_inputs_that_do_not_fit_are_refused(name):
    with pytest.raises(TypeError, match="margin: no such option"):
        create(name, margin=0.1)
    with pytest.raises(ValueError, match=r"do not fit. Expected: floats \(N, D\) and labels \(N,\)"):
        called(create(name), torch.zeros(3, 5), torch.arange(4))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_positive_it_is_zero_with_a_zero_gradient(name):
    embeddings = random_embeddings(4, 34).requires_grad_()
    value = called(create(name), embeddings, torch.arange(4))
    value.backward()
    assert value == 0
    assert not embeddings.grad.any()


@pytest.mark.parametrize("name", OF_PAIRS)
def test_reductions_are_the_mean_or_none(name):
    assert not create_loss(name, reduction="none")(random_embeddings(4, 34), torch.arange(4)).any()
    with pytest.raises(ValueError, match=r"reduction: 'sum' is not allowed. Allowed: 'mean', 'none'"):
        create_loss(name, reduction="sum")


def test_nobody_is_told_to_write_what_he_wrote():
    with pytest.raises(UserError, match="'ce' is not a contrastive loss") as caught:
        create_loss("ce")
    assert "Did you mean" not in str(caught.value)
