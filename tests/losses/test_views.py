"""Losses that compare whole views, against loops in plain Python floats written from the papers' formulas."""

import pytest
import torch

from clce_bench.losses import FusedLoss, create_loss
from tests.losses.references import VIEW_CASES, random_embeddings, views_loop
from tests.losses.test_conformance import numerical_gradient

WEIGHTS = (0.4, 1.7, 2.5)
IMAGES = [3, 0, 7, 1, 5]


def batch(views, seed=41):
    """All images in their first view, then all in their second, …, and which image each row is."""
    return random_embeddings(views * len(IMAGES), seed, dimensions=3), torch.tensor(IMAGES * views)


@pytest.mark.parametrize("name", VIEW_CASES)
@pytest.mark.parametrize("views", [2, 3])
def test_value_and_gradient_are_those_of_the_loop(name, views):
    hyperparameters, reference = (of(*WEIGHTS) for of in VIEW_CASES[name])
    embeddings, images = batch(views)
    embeddings.requires_grad_()
    value = create_loss(name, **hyperparameters)(embeddings, images)
    value.backward()

    def written_out(rows):
        return views_loop(rows, images.tolist(), reference)

    assert value.item() == pytest.approx(written_out(embeddings.detach()), rel=1e-12)
    numerical = numerical_gradient(written_out, embeddings.detach())
    torch.testing.assert_close(embeddings.grad, numerical, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", VIEW_CASES)
def test_length_of_rows_order_of_images_and_their_numbers_do_not_matter(name):
    embeddings, images = batch(2)
    loss = create_loss(name)
    order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(0))
    order = torch.cat([order, order + len(IMAGES)])
    for rows, labels in (
        (embeddings * torch.arange(1, 11)[:, None], images),
        (embeddings[order], images[order]),
        (embeddings, 100 - 7 * images),
        (embeddings.view(2, len(IMAGES), 3).transpose(0, 1).reshape(-1, 3), images[:5].repeat_interleave(2)),
    ):
        assert loss(rows, labels).item() == pytest.approx(loss(embeddings, images).item(), rel=1e-12)


@pytest.mark.parametrize("name", VIEW_CASES)
def test_half_precision_is_computed_in_single_in_both_passes(name):
    embeddings, images = random_embeddings(32, 42, dimensions=8).float().requires_grad_(), torch.arange(32) % 16
    create_loss(name)(embeddings, images).backward()
    expected, embeddings.grad = embeddings.grad, None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        create_loss(name)(embeddings, images).backward()
    assert torch.equal(embeddings.grad, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = create_loss(name)(embeddings.bfloat16(), images)
    assert value.item() == pytest.approx(create_loss(name)(embeddings.bfloat16().double(), images).item(), rel=1e-4)


@pytest.mark.parametrize("name", VIEW_CASES)
def test_functional_gradient_equals_backward(name):
    embeddings, images = batch(2)
    functional = torch.func.grad(lambda rows: create_loss(name)(rows, images))(embeddings)
    embeddings.requires_grad_()
    create_loss(name)(embeddings, images).backward()
    torch.testing.assert_close(functional, embeddings.grad)


@pytest.mark.parametrize("name", VIEW_CASES)
@pytest.mark.parametrize("rows", [0, 1, 2, 4])
def test_too_few_images_or_views_cost_nothing(name, rows):
    embeddings = random_embeddings(rows, 43).requires_grad_()
    for images in (torch.arange(rows), torch.zeros(rows, dtype=torch.int64)):
        value = create_loss(name)(embeddings, images)
        value.backward()
        assert value == 0
        assert not embeddings.grad.any()


@pytest.mark.parametrize("name", VIEW_CASES)
def test_equal_rows_have_a_finite_value_and_gradient(name):
    embeddings = torch.ones(8, 4, requires_grad=True)
    value = create_loss(name)(embeddings, torch.arange(8) % 4)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("name", VIEW_CASES)
def test_images_with_different_numbers_of_views_are_refused(name):
    with pytest.raises(ValueError, match="images have 1 to 3 views. Expected: the same number of each"):
        create_loss(name)(random_embeddings(4, 44), torch.tensor([0, 1, 1, 1]))


@pytest.mark.parametrize("name", VIEW_CASES)
def test_a_fused_loss_gives_them_images(name):
    embeddings, images = batch(2)
    labels = torch.zeros_like(images)
    assert FusedLoss(create_loss(name), 1.0)(None, embeddings, labels, images) == create_loss(name)(embeddings, images)
