"""Losses of a view and its target, another view, against loops in plain Python floats."""

import pytest
import torch

from clce_bench.losses import create_loss
from tests.losses.references import TARGET_CASES, called, create, random_embeddings, targets_loop
from tests.losses.test_conformance import numerical_gradient
from tests.losses.test_views import IMAGES, batch


def setting(name, views):
    """A loss, embeddings, those of a momentum encoder, images, and the loop of the loss as it is now."""
    torch.manual_seed(0)
    hyperparameters, reference = TARGET_CASES[name]
    loss = create(name, 3, **hyperparameters)
    embeddings, images = batch(views)
    return loss, embeddings, random_embeddings(len(images), 45, dimensions=3), images, reference(loss)


@pytest.mark.parametrize("name", TARGET_CASES)
@pytest.mark.parametrize("views", [2, 3])
def test_value_and_gradient_are_those_of_the_loop(name, views):
    loss, embeddings, others, images, reference = setting(name, views)
    momentum = hasattr(loss, "momentum_at")
    # Without a momentum encoder targets are the embeddings themselves, through which no gradient flows.
    targets = others if momentum else embeddings.clone()
    embeddings.requires_grad_()
    value = loss(embeddings, images, *((targets.requires_grad_(),) if momentum else ()))
    value.backward()

    def written_out(rows):
        return targets_loop(rows, targets.detach(), images.tolist(), reference)

    assert value.item() == pytest.approx(written_out(embeddings.detach()), rel=1e-12)
    torch.testing.assert_close(
        embeddings.grad, numerical_gradient(written_out, embeddings.detach()), rtol=1e-6, atol=1e-8
    )
    assert targets.grad is None
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())


def test_the_queue_has_the_latest_keys():
    loss, embeddings, others, images, _ = setting("moco", 2)
    before = loss.queue.clone()
    loss(embeddings, images, others)
    order = torch.tensor(IMAGES).argsort()
    keys = torch.nn.functional.normalize(others, dim=1).view(2, len(IMAGES), 3)[:, order].reshape(-1, 3)
    torch.testing.assert_close(loss.queue[: len(keys)], keys)
    assert torch.equal(loss.queue[len(keys) :], before[: len(before) - len(keys)])
    small = create("moco", 3, queue_size=4)
    small(embeddings, images, others)
    torch.testing.assert_close(small.queue, keys[:4])


@pytest.mark.parametrize("name", TARGET_CASES)
def test_half_precision_is_computed_in_single_in_both_passes(name):
    torch.manual_seed(0)
    embeddings, images = random_embeddings(32, 42, dimensions=8).float().requires_grad_(), torch.arange(32) % 16
    loss = create(name, 8, **TARGET_CASES[name][0]).float()
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    called(loss, embeddings, images).backward()
    expected, embeddings.grad = embeddings.grad, None
    loss.load_state_dict(state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        called(loss, embeddings, images).backward()
    torch.testing.assert_close(embeddings.grad, expected, rtol=1e-5, atol=1e-7)


def test_they_say_which_embeddings_they_are_for():
    with pytest.raises(TypeError, match="embedding_size"):
        create_loss("byol")
    with pytest.raises(ValueError, match="momentum: 1.5 is not allowed. Allowed: a number from 0 to 1"):
        create_loss("moco", embedding_size=8, momentum=1.5)
