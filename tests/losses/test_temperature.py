"""Temperatures that are learnt: their gradient, what they leave as it was, and their way from the file to a step."""

import pytest
import torch

from clce_bench.analysis.summary import summary_table
from clce_bench.components.hyperparameters import words_of
from clce_bench.components.registry import loss_path
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.losses import FusedLoss, create_loss, rows_of_views
from clce_bench.losses.pairs import DensePairs, P
from clce_bench.losses.tiles import NEG_INF
from clce_bench.planning.plan import plan_of
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.step import Batch, TrainStep
from tests.losses.references import random_embeddings, random_labels
from tests.losses.test_losses import either_way, small_tiles  # noqa: F401
from tests.training.test_step import INSTANCE_IDS, LABELS, inputs, train_step

CASES = {
    "supcon": ({}, 0.1),
    "supcon inside": ({"positives": "inside"}, 0.1),
    "ntxent": ({}, 0.5),
    "clce": ({"beta": 0.7}, 0.5),
}


class DifferentiablePairs(DensePairs):
    """Sums whose coefficients carry a gradient: the formula on a whole matrix, all of it by autograd."""

    def logsumexp(self, *terms):
        return tuple(
            (coefficient * self.similarity).masked_fill(self._left_out[kind], NEG_INF).logsumexp(dim=1)
            for kind, coefficient in terms
        )


def by_autograd(name, options, embeddings, labels, tau):
    """The value of a loss at a temperature, and its gradients."""
    plain = create_loss(name.split()[0], **options)
    embeddings = embeddings.clone().requires_grad_()
    plain.temperature = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    rows = torch.nn.functional.normalize(embeddings)
    pairs = DifferentiablePairs(rows @ rows.T, labels)
    has_positive = pairs.count(P) > 0
    per_anchor = type(plain).per_anchor
    value = torch.where(has_positive, per_anchor(plain, pairs), 0.0).sum() / has_positive.sum()
    value.backward()
    return value.detach(), embeddings.grad, plain.temperature.grad


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_those_of_the_formula_by_autograd(either_way, case):  # noqa: F811
    options, start = CASES[case]
    embeddings, labels = random_embeddings(30, 61, dimensions=6), random_labels(30, 5)
    loss = create_loss(case.split()[0], temperature="learned", **options).double()
    for tau in (start, 0.08, 1.7):
        with torch.no_grad():
            loss.temperature.log.copy_(torch.tensor(tau, dtype=torch.float64).log())
        rows = embeddings.clone().requires_grad_()
        loss.zero_grad()
        value = loss(rows, labels)
        value.backward()
        expected, to_rows, to_temperature = by_autograd(case, options, embeddings, labels, tau)
        torch.testing.assert_close(value.detach(), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(rows.grad, to_rows, rtol=1e-7, atol=1e-9)
        # The parameter is the temperature's logarithm.
        torch.testing.assert_close(loss.temperature.log.grad, to_temperature * tau, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_at_its_start_it_is_the_loss_with_that_temperature(either_way, case):  # noqa: F811
    options, start = CASES[case]
    name = case.split()[0]
    embeddings, labels = random_embeddings(30, 62), random_labels(30, 5)
    learned = create_loss(name, temperature="learned", **options)
    assert f"({start:g})" in repr(learned)
    torch.testing.assert_close(learned(embeddings, labels), create_loss(name, **options)(embeddings, labels))
    torch.testing.assert_close(
        learned.gradient_weights(embeddings, labels), create_loss(name, **options).gradient_weights(embeddings, labels)
    )
    assert [key for key, _ in learned.named_parameters()] == ["temperature.log"]
    assert not list(create_loss(name, **options).parameters())


def test_training_moves_it_and_continues_with_it():
    def stepping():
        made = train_step(weight=0.5)
        return TrainStep(
            made.model, FusedLoss(create_loss("clce", temperature="learned"), 0.5), made.cell, Runtime(), 4
        )

    def steps(taking, numbers):
        return [taking(number, Batch(inputs(), LABELS, INSTANCE_IDS)) for number in numbers]

    whole, first, second = stepping(), stepping(), stepping()
    torch.manual_seed(5)
    expected = steps(whole, range(4))
    assert whole.loss.contrastive.temperature.log.exp().item() != pytest.approx(0.5, abs=1e-3)
    torch.manual_seed(5)
    steps(first, range(2))
    second.load(first.state())
    assert steps(second, range(2, 4)) == expected[2:]


def parse(loss, **keys):
    grid = {"name": "main", "dataset": "digits", "loss": loss, "lambda": 0.5, **keys}
    return parse_experiment({"name": "test", "grids": [grid]}, "test.yaml")


def test_an_experiment_may_learn_it_beside_fixed_ones():
    experiment = parse([{"name": "clce", "temperature": [0.5, "learned"]}, "supcon"])
    cells = union(cells_of(experiment))
    assert {cell.axes["loss.temperature"] for cell in cells} == {0.5, "learned", 0.1}
    learning = next(cell for cell in cells if cell.axes["loss.temperature"] == "learned")
    assert list(contrastive_loss(learning).parameters())
    assert set(summary_table(plan_of(experiment))["loss.temperature"]) == {"0.5", "learned", "0.1"}


def test_only_losses_that_can_learn_it_take_the_word():
    assert words_of(loss_path("supcon")) == {"temperature": ["learned"], "positives": ["outside", "inside"]}
    for loss, keys, told in (
        ({"name": "tcl", "temperature": "learned"}, {}, "temperature: 'learned' is not allowed. Allowed: a finite"),
        ({"name": "clce", "temperature": "learnt"}, {}, "temperature: 'learnt' is not allowed. Allowed: a finite"),
        ({"name": "supcon", "temperature": "learned"}, {"hazards": ["scaled-supcon"]}, "is not allowed where the temp"),
    ):
        with pytest.raises(UserError, match=told):
            cells_of(parse(loss, **keys))


def test_supcontrasts_batches_of_views_give_its_rows_and_labels():
    views, labels = random_embeddings(12, 63, dimensions=10).view(6, 2, 2, 5), torch.tensor([0, 1, 0, 2, 1, 0])
    loss = create_loss("supcon")
    by_hand = torch.cat([views[:, 0].reshape(6, 10), views[:, 1].reshape(6, 10)])
    assert loss(*rows_of_views(views, labels)) == loss(by_hand, torch.cat([labels, labels]))
    assert loss(*rows_of_views(views)) == loss(by_hand, torch.arange(6).repeat(2))
    with pytest.raises(ValueError, match=r"\(6, 10\) do not fit. Expected: \(images, views, dimensions\)"):
        rows_of_views(by_hand[:6])
