"""Augmentation of whole batches: against torchvision's functions on one image, against Pillow, in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.batched_augmentation import Changes, change, work_out
from clce_bench.data.view_parameters import View
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Augmentation

SIZE = 24
ALL = {"crop_scale": 0.4, "crop_padding": 3, "rotation": 15, "flip": 0.5, "color_jitter": 0.4, "hue": 0.2}
ALL |= {"color_jitter_probability": 0.8, "grayscale": 0.2}
COLOURS = st.permutations(["brightness", "contrast", "saturation", "hue"])


def noise(count, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def smooth(width, height, seed=0, least=0, most=256):
    few = np.random.default_rng(seed).integers(least, most, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)


def view(**changes):
    return View(**{"crop": (0, 0, SIZE, SIZE), **changes})


def changed(pixels, views):
    return change(pixels, Changes.of([work_out(own, SIZE, SIZE, SIZE) for own in views]))


def by_torchvision(image, own):
    """Applies torchvision's functions one after the other, rounding once, at the end."""
    found = image.float()
    if own.angle:  # Zeros come in; of the negative that is white.
        found = 255 - F.rotate(255 - found, own.angle, InterpolationMode.BILINEAR)
    left, top, width, height = own.crop
    found = F.resized_crop(found, top, left, height, width, [SIZE, SIZE], antialias=True)
    right, down = own.shift
    found = F.crop(F.pad(found, [SIZE] * 4), down + SIZE, right + SIZE, SIZE, SIZE)
    found = (F.horizontal_flip(found) if own.flip else found) / 255
    for name, factor in own.colours:
        found = getattr(F, f"adjust_{name}")(found, factor)
    return (255 * found).round()


def furthest(one, other):
    return (one.float() - other.float()).abs().max().item()


@st.composite
def crops(draw, least=1):
    width, height = draw(st.integers(least, SIZE)), draw(st.integers(least, SIZE))
    return draw(st.integers(0, SIZE - width)), draw(st.integers(0, SIZE - height)), width, height


ALONE = {
    "angle": st.floats(-180, 180),
    "crop": crops(),
    "shift": st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    "flip": st.booleans(),
    **{name: st.floats(0, 2) for name in ("brightness", "contrast", "saturation")},
    "hue": st.floats(-0.5, 0.5),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_change_is_that_of_torchvision(name):
    @settings(max_examples=25, deadline=None)
    @given(ALONE[name])
    def check(value):
        own = view(**{name: value}) if name in View._fields else view(colours=((name, value),))
        found = changed(noise(1), [own])[0]
        # Of the same sum rounded in another place, one level; where nothing is interpolated or multiplied, none.
        assert furthest(found, by_torchvision(noise(1)[0], own)) <= (name not in ("shift", "flip"))

    check()


def test_no_saturation_is_torchvision_grey():
    found = changed(noise(1), [view(colours=(("saturation", 0.0),))])[0]
    assert furthest(found, F.rgb_to_grayscale(noise(1)[0].float(), 3).round()) <= 1


@settings(max_examples=40, deadline=None)
@given(COLOURS, st.lists(st.floats(0.5, 1.5), min_size=3, max_size=3), st.floats(-0.3, 0.3), crops(), st.booleans())
def test_all_changes_together_are_those_of_torchvision(order, factors, hue, crop, flip):
    factor = {**dict(zip(["brightness", "contrast", "saturation"], factors, strict=True)), "hue": hue}
    own = view(crop=crop, shift=(2, -3), flip=flip, colours=tuple((name, factor[name]) for name in order))
    assert furthest(changed(noise(1), [own])[0], by_torchvision(noise(1)[0], own)) <= 1


@settings(max_examples=20, deadline=None)
@given(st.floats(-12, 12), crops(least=10), st.booleans())
def test_a_turned_crop_is_that_of_torchvision_but_interpolated_once(angle, crop, flip):
    own = view(angle=angle, crop=crop, flip=flip, colours=(("contrast", 1.2),))
    # White fills what is turned in, on both sides, so that its edge is no edge in this picture.
    image = F.pil_to_tensor(smooth(SIZE, SIZE, least=245))
    assert furthest(changed(image[None], [own])[0], by_torchvision(image, own)) <= 4


class Pictures:
    """A data set of a few smooth pictures, squares or, as from files, of another size."""

    def __init__(self, width=SIZE, height=SIZE, count=8, **colours):
        self.description = {"name": "made-up", "size": SIZE}
        self.images = [smooth(width, height, seed, **colours) for seed in range(count)]
        self.files = None if width == height == SIZE else ["there"] * count

    @property
    def pixels(self):
        return np.stack([np.asarray(image) for image in self.images])

    def image(self, row):
        return self.images[row]


def both(data, **augmentation):
    return [Views(data, Augmentation(**augmentation, backend=backend)) for backend in ("pil", "tensor")]


ROWS, NUMBERS = list(range(8)) * 4, [number for number in range(4) for _ in range(8)]


def test_padded_crops_and_flips_are_pillow_to_the_bit():
    pil, tensor = both(Pictures(), crop_padding=4, flip=0.5)
    assert torch.equal(pil(ROWS, NUMBERS), tensor(ROWS, NUMBERS))


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (90, 60), (40, 70)])
def test_views_are_pillow_views_in_slightly_other_pixels(shape):
    pil, tensor = (views(ROWS, NUMBERS).float() for views in both(Pictures(*shape), **{**ALL, "rotation": 0}))
    apart = (pil - tensor).abs().flatten(1).mean(1)
    assert apart.max() < 6  # Pillow has 256 hues, and rounds after each change.
    other = (pil - tensor.roll(8, 0)).abs().flatten(1).mean(1)
    assert other.mean() > 10 * apart.mean()


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (90, 60), (40, 70)])
def test_turned_views_are_pillow_views_too(shape):
    pil, tensor = (views(ROWS, NUMBERS).float() for views in both(Pictures(*shape), crop_scale=0.3, rotation=40))
    apart = (pil - tensor).abs().flatten(1)
    assert apart.median(1).values.max() < 4
    assert apart.mean() < 8  # At the edge of the white corners, where Pillow has one pixel or the other.
    white = (pil > 254).flatten(1).float().mean(1)
    assert white.max() > 0.05
    assert (white - (tensor > 254).flatten(1).float().mean(1)).abs().max() < 0.1


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 180), st.sampled_from([(120, 80), (80, 120), (30, 26)]))
def test_a_turned_crop_from_the_middle_has_all_pixels_of_the_image_and_nothing_else(angle, shape):
    image, (width, height) = smooth(*shape, least=10, most=90), shape
    crop = (width // 3, height // 3, min(shape) // 3, min(shape) // 3)
    drawn = work_out(view(angle=angle, crop=crop), width, height, SIZE)
    square = F.pil_to_tensor(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, drawn.box))
    found = change(square[None], Changes.of([drawn]))[0]
    turned = image.rotate(angle, Image.Resampling.BILINEAR)
    left, top, wide, high = crop
    expected = turned.crop((left, top, left + wide, top + high)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert furthest(found, F.pil_to_tensor(expected)) <= 6


@pytest.mark.parametrize("shape", [(240, 24), (24, 240)])
@pytest.mark.parametrize("angle", [90, -60])
def test_a_crop_that_is_turned_out_of_a_long_picture_is_white(shape, angle):
    drawn = work_out(view(angle=angle, crop=(0, 0, 10, 10)), *shape, SIZE)
    part = F.pil_to_tensor(smooth(*shape, most=90).resize((SIZE, SIZE), Image.Resampling.BILINEAR, drawn.box))
    assert change(part[None], Changes.of([drawn])).unique().tolist() == [255]


DATA = Pictures()
VIEWS = both(DATA, **ALL)[1]
LOADED = VIEWS.load(ROWS, NUMBERS)
TOGETHER = change(*LOADED)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(len(ROWS))), st.sets(st.integers(1, len(ROWS) - 1), max_size=6))
def test_a_view_is_the_same_to_the_bit_in_any_batch(order, cuts):
    for part in map(torch.from_numpy, np.split(np.array(order), sorted(cuts))):
        found = change(LOADED.pixels[part], Changes(*(own[part] for own in LOADED.changes)))
        assert torch.equal(found, TOGETHER[part])


def test_what_is_drawn_for_a_view_depends_on_nothing_else():
    for place in reversed(range(len(ROWS))):
        torch.manual_seed(place)
        assert torch.equal(VIEWS([ROWS[place]], [NUMBERS[place]])[0], TOGETHER[place])
    assert len({picture.numpy().tobytes() for picture in TOGETHER}) == len(TOGETHER)


def test_a_batch_too_large_to_be_changed_at_once_is_the_same():
    large = [view(crop=(0, 0, 300, 300), flip=flip, colours=(("contrast", 0.5), ("hue", 0.1))) for flip in (0, 1, 1)]
    changes = Changes.of([work_out(own, 300, 300, 300) for own in large])
    pixels = noise(3, 300)
    found = change(pixels, changes)
    for row in range(3):
        assert torch.equal(
            change(pixels[row : row + 1], Changes(*(own[row : row + 1] for own in changes)))[0], found[row]
        )


def test_clean_images_and_support_that_pillow_made_pass_through_unchanged():
    support = Augmentation(rotation=30, color_jitter=0.4)
    views = Views(DATA, Augmentation(**ALL, backend="tensor"), support, [4, 5])
    rows, numbers = [3, 4, 5, 6, 7], [1, 1, CLEAN, CLEAN, 2]
    found = views(rows, numbers)
    own = both(DATA, **ALL)[1]
    for picture, row, number, alone in zip(
        found, rows, numbers, [own, Views(DATA, support), own, own, own], strict=True
    ):
        assert torch.equal(picture, alone([row], [number])[0])
    assert torch.equal(found[2], F.pil_to_tensor(DATA.image(5)))
    # Nothing is left to do to what is clean, nor with the usual backend.
    assert views.load(rows, [CLEAN] * 5).changes is None
    assert both(DATA, **ALL)[0].load(rows, numbers).changes is None


def cell(**augmentation):
    grid = {"name": "main", "dataset": "digits", "loss": "ce"}
    values = {"name": "t", "grids": [grid], "recipe": {"augmentation": augmentation}}
    return union(cells_of(parse_experiment(values, "config.yaml")))[0]


def test_the_backend_is_part_of_a_cell_unless_it_is_the_usual_one():
    usual, tensor = cell(flip=0.5), cell(flip=0.5, backend="tensor")
    assert "backend" not in usual.spec["augmentation"]
    assert cell(flip=0.5, backend="pil") == usual
    assert tensor.name != usual.name
    assert Cell(**tensor.spec).name == tensor.name
    assert cell(preset="simclr").augmentation.label == "simclr"
    assert cell(preset="simclr", backend="tensor").augmentation.label == "simclr (tensor)"
    assert cell(preset="simclr", hue=0.2).augmentation == Augmentation(
        **{**cell(preset="simclr").augmentation.model_dump(), "hue": 0.2}
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auto_augment": "rand-m9"}, "auto_augment: 'rand-m9' is not allowed with backend: tensor.*Allowed: ''"),
        ({"erasing": 0.25}, "erasing: 0.25 is not allowed with backend: tensor.*Allowed: 0"),
        ({"preset": "autoaugment"}, "auto_augment: 'cifar10' is not allowed with backend: tensor"),
        ({"preset": "simclear"}, "'simclear' is not an augmentation. Did you mean 'simclr'?"),
        ({"presett": "simclr"}, "'presett' is not a key. Did you mean 'preset'?"),
        ({"backend": "gpu"}, "backend: 'gpu' is not allowed"),
    ],
)
def test_what_cannot_be_done_to_a_batch_is_refused_at_reading(values, message):
    with pytest.raises(UserError, match=f"recipe.augmentation.*{message}"):
        cell(**{"backend": "tensor", **values})
