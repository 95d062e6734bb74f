"""Augmentations: what recipes may ask for, and that every view stays the same picture."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from clce_bench.data.augmentation import Views, _posterize, build_transform
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.errors import UserError
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Augmentation, named
from clce_bench.seeds import seed_for

PHOTOGRAPH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    prepare_dataset({"dataset": "tiny", "size": 32}, folder)
    return PreparedDataset(folder)


def draw(augmentation, seed=0):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    return build_transform(augmentation, 48)(PHOTOGRAPH)


def test_views_without_a_policy_are_those_of_the_first_version(digits):
    augmentation = Augmentation(crop_scale=0.6, rotation=10, flip=0.5, color_jitter=0.2, grayscale=0.3)
    transform = v2.Compose(
        [
            v2.RandomRotation(10, v2.InterpolationMode.BILINEAR, fill=255),
            v2.RandomResizedCrop(32, scale=(0.6, 1.0)),
            v2.RandomHorizontalFlip(0.5),
            v2.ColorJitter(0.2, 0.2, 0.2),
            v2.RandomGrayscale(0.3),
        ]
    )
    views = Views(digits, augmentation)([3, 3, 70], [0, 5, 1])
    for view, (row, number) in zip(views, [(3, 0), (3, 5), (70, 1)], strict=True):
        torch.manual_seed(seed_for("view", dataset="tiny", image=row, view=number))
        assert torch.equal(view, pil_to_tensor(transform(Image.fromarray(digits.pixels[row]))))


@pytest.mark.parametrize("policy", ["rand-m10-n3-inc1", "v0"])
def test_the_strongest_posterisation_is_black(policy):
    # Pillow 13 refuses to keep no bits, which some of these levels ask for.
    assert any(not draw(Augmentation(auto_augment=policy), seed).any() for seed in range(150))


def test_posterising_keeps_bits_as_pillow_does():
    for bits in range(1, 8):
        assert _posterize(PHOTOGRAPH, bits).tobytes() == ImageOps.posterize(PHOTOGRAPH, bits).tobytes()
    assert not any(_posterize(PHOTOGRAPH, 0).tobytes())


def test_support_of_episodes_has_an_augmentation_of_its_own(digits):
    training, support = Augmentation(crop_scale=0.5, erasing=1.0), Augmentation(rotation=30)
    rows, numbers = [3, 4, 5, 5], [1, 1, 0, 2]
    found = Views(digits, training, support, [4, 5])(rows, numbers)
    for view, own, row, number in zip(found, [training, *3 * [support]], rows, numbers, strict=True):
        assert torch.equal(view, Views(digits, own)([row], [number])[0])


@pytest.mark.parametrize("name", sorted(named("recipes")))
def test_views_of_every_recipe_are_the_same_wherever_they_are_asked_for(digits, name):
    augmentation = Augmentation(**named("recipes")[name].get("augmentation", {"crop_scale": 0.5}))
    rows, numbers = [5, 6, 7, 8, 9, 5], [0, 1, 2, 3, 4, 1]
    together = pickle.loads(pickle.dumps(Views(digits, augmentation)))(rows, numbers)
    random.seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for row, number, view in reversed(list(zip(rows, numbers, together, strict=True))):
        assert torch.equal(Views(digits, augmentation)([row], [number])[0], view)
    assert together.dtype == torch.uint8
    assert not torch.equal(together[0], together[5])
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "rand-m5-n3-tweights", "original", "v0r", "3a", "cifar10"])
def test_policies_change_the_picture(policy):
    drawn = [draw(Augmentation(auto_augment=policy), seed) for seed in range(8)]
    assert any(not torch.equal(image, pil_to_tensor(PHOTOGRAPH)) for image in drawn)
    assert len({image.numpy().tobytes() for image in drawn}) > 1


def test_erasing_puts_noise_into_one_rectangle():
    original = pil_to_tensor(PHOTOGRAPH)
    changed = (draw(Augmentation(erasing=1.0), 3) != original).any(dim=0)
    rows, columns = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert 0.01 < height * width / 48**2 < 0.4
    assert changed.sum() > 0.95 * height * width
    untouched = sum(torch.equal(draw(Augmentation(erasing=0.25), seed), original) for seed in range(200))
    assert 125 < untouched < 175  # 150 of 200 expected, four standard deviations either way


def test_colours_change_as_often_as_asked():
    original = pil_to_tensor(PHOTOGRAPH)
    augmentation = Augmentation(color_jitter=0.4, hue=0.1, color_jitter_probability=0.8)
    kept = sum(torch.equal(draw(augmentation, seed), original) for seed in range(200))
    assert 20 < kept < 62  # 40 of 200 expected, four standard deviations either way
    assert not torch.equal(draw(Augmentation(hue=0.2)), original)


def test_a_padded_crop_moves_the_picture():
    original = pil_to_tensor(PHOTOGRAPH)
    moved = draw(Augmentation(crop_padding=4), 1)
    padded = torch.nn.functional.pad(original, (4, 4, 4, 4))
    places = [(y, x) for y in range(9) for x in range(9) if torch.equal(padded[:, y : y + 48, x : x + 48], moved)]
    assert len(places) == 1


@pytest.mark.parametrize("policy", ["random", "rand-m9-x3", "rand-mmany", "originalx", "augmix-m5", "cifar100"])
def test_a_policy_that_does_not_exist_is_refused_at_reading(policy):
    values = {"name": "t", "grids": [{"name": "g", "dataset": "digits", "loss": "ce"}]}
    values["recipe"] = {"augmentation": {"auto_augment": policy}}
    with pytest.raises(UserError, match=f"recipe.augmentation.auto_augment: '{policy}' is not allowed"):
        parse_experiment(values, "config.yaml")
