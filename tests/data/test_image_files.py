"""Data sets that are image files: decoding, damaged files, folders of the user's own, training from files."""

import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import ImageFolder

from clce_bench.analysis.summary import write_summary
from clce_bench.cli import command_status
from clce_bench.data import decode
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.sources import folder
from clce_bench.errors import UserError
from clce_bench.experiment.cells import dataset_directory, union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Augmentation
from clce_bench.files import read_json
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.planning.plan import plan_of
from clce_bench.report.page import write_report
from clce_bench.training.inputs import ComputedInputs
from tests.helpers.made_up import make_up


def draw_images(root, classes=("cats", "dogs"), count=6, ending=".png"):
    """Writes images of different sizes, all different."""
    rng = np.random.default_rng(len(str(root.name)))
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}{ending}")
    return root


@pytest.fixture
def photos():
    return draw_images(Path("photos"))


def prepared(name="folder:photos", size=16, **spec):
    prepare_dataset({"dataset": name, "size": size, **spec}, Path("data"))
    return PreparedDataset(Path("data"))


def test_a_folder_has_the_images_and_labels_of_torchvisions_class(photos):
    dataset = prepared()
    reference = ImageFolder(photos)
    assert dataset.classes == reference.classes
    assert [str(photos / name) for name in dataset.items["id"]] == [path for path, _ in reference.imgs]
    assert dataset.items["label"].tolist() == reference.targets
    for row, (image, _) in enumerate(reference):
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
        assert (dataset.pixels[row] == expected).all()
        assert (np.asarray(dataset.image(row)) == expected).all()


def test_train_validation_and_test_folders_are_official_parts():
    for part, count in (("train", 5), ("val", 3), ("test", 4)):
        draw_images(Path("photos", part), count=count)
    items = prepared().items
    assert items["part"].value_counts().to_dict() == {"train": 10, "validation": 6, "test": 8}
    assert items["class"].value_counts().to_dict() == {"cats": 12, "dogs": 12}
    assert items["id"].iloc[0] == "test/cats/0.png"


def test_a_class_may_be_called_train(tmp_path):
    draw_images(Path("vehicles"), ("bus", "train"))
    assert prepared("folder:vehicles").classes == ["bus", "train"]


@pytest.mark.parametrize(
    ("classes", "count", "expected"),
    [
        ((), 0, "folder:photos: at least two classes are needed, a sub-folder each, in it; found 0 with images"),
        (("cats",), 4, "at least two classes are needed, a sub-folder each, in it; found 1 with images"),
        (("cats", "dogs"), 2, "the class 'cats' has 2 images; at least 3 are needed."),
        (("train/cats", "train/dogs", "test/cats"), 1, "'cats' has 1 images to train on; at least 2 are needed."),
        (("test/cats", "val/cats"), 4, "folder:photos: has test, val but no train."),
    ],
)
def test_folders_that_are_no_data_sets(classes, count, expected):
    draw_images(Path("photos"), classes, count)
    Path("photos").mkdir(exist_ok=True)
    with pytest.raises(UserError) as caught:
        plan_for("folder:photos")
    assert expected in str(caught.value)
    assert not Path("results").exists()


def plan_for(dataset, **options):
    grid = {"name": "main", "dataset": dataset, "loss": "ce", "batch_size": 4}
    return plan_of(parse_experiment({"name": "test", "grids": [grid], "datasets": {dataset: options}}, "config.yaml"))


def test_a_folder_that_is_not_there():
    with pytest.raises(UserError, match="folder:none: there is no such folder"):
        plan_for("folder:none")
    with pytest.raises(
        UserError,
        match="Data sets: .*openmoji, .*, a folder like folder:photos, torchvision:NAME, hf:OWNER/NAME, or a path like",
    ):
        plan_for("photos")


def test_folders_get_readable_directories_of_their_own(photos):
    name = plan_for(f"folder:{photos}/../photos/", size=32).cells[0].directory.parts[2]
    assert name.startswith("folder-photos-")
    shutil.copytree(photos, "other/photos")
    assert plan_for("folder:other/photos").cells[0].directory.parts[2] != name
    assert dataset_directory("folder:/a b/Ünï/").startswith("folder-n-")
    assert dataset_directory("digits") == "digits"
    assert plan_for("folder:./photos", size=32).cells[0].size == 32


def test_a_changed_image_makes_the_folder_be_read_again(photos):
    (before,) = plan_for("folder:photos").jobs["dataset"].values()
    assert plan_for("folder:photos").jobs["dataset"].popitem()[1].param == before.param
    content = prepared().description
    path = photos / "cats" / "0.png"
    path.write_bytes((photos / "dogs" / "1.png").read_bytes())
    (after,) = plan_for("folder:photos").jobs["dataset"].values()
    assert after.param != before.param
    changed = prepared().description
    assert changed["content"] != content["content"]
    assert changed["sha256"]["images.npy"] != content["sha256"]["images.npy"]
    os.utime(path)  # Touched, not changed.
    assert plan_for("folder:photos").jobs["dataset"].popitem()[1].param == after.param


def test_a_heavy_folder_is_known_by_sizes_and_times(photos, monkeypatch):
    monkeypatch.setattr(folder, "LIGHT", 1000)
    monkeypatch.setattr(folder.Path, "read_bytes", None)  # Must not be read.
    before = folder.folder_dataset("folder:photos").state
    assert folder.folder_dataset("folder:photos").state == before
    os.utime(photos / "cats" / "0.png", (0, 0))
    assert folder.folder_dataset("folder:photos").state != before


def test_skipping_damaged_images_is_part_of_the_job(photos):
    (stop,) = plan_for("folder:photos").jobs["dataset"].items()
    (skip,) = plan_for("folder:photos", corrupt="skip").jobs["dataset"].items()
    assert "corrupt" not in stop[1].spec
    assert skip[1].spec["corrupt"] == "skip"
    assert skip[0] == f"{stop[0]}-skip"
    with pytest.raises(UserError, match="datasets.folder:photos.corrupt: 'ignore' is not allowed"):
        plan_for("folder:photos", corrupt="ignore")


DAMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-900]), "cannot be decoded"),
    "no image": (lambda path: path.write_text("<html>Not found</html>"), "cannot identify image file"),
    "empty": (lambda path: path.write_bytes(b""), "cannot identify image file"),
    "no width": (lambda path: path.write_bytes(path.read_bytes()[:16] + bytes(4) + path.read_bytes()[20:]), "cannot"),
}


@pytest.fixture(params=[False, True], ids=["array", "files"])
def large(request, monkeypatch):
    """Whether the images of a folder stay files."""
    monkeypatch.setattr(folder, "LARGE", 5 if request.param else 50)
    return request.param


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_named_or_skipped(photos, damage, large):
    act, reason = DAMAGES[damage]
    act(photos / "dogs" / "2.png")
    with pytest.raises(UserError, match=rf"photos/dogs/2.png: .*{reason}.*set datasets.folder:photos.corrupt: skip to"):
        prepared()
    assert not Path("data/dataset.json").exists()
    dataset = prepared(corrupt="skip")
    (skipped,) = dataset.description["skipped"]
    assert skipped["id"] == "dogs/2.png"
    assert reason in skipped["reason"]
    assert len(dataset.items) == dataset.description["images"] == 11
    expected = Image.open(photos / "dogs" / "3.png")
    if not large:
        assert dataset.pixels.shape == (11, 16, 16, 3)
        expected = expected.resize((16, 16), Image.Resampling.BILINEAR)
    assert dataset.items["id"].iloc[8] == "dogs/3.png"
    assert (np.asarray(dataset.image(8)) == np.asarray(expected)).all()


def test_an_oversized_or_missing_image_is_named(photos, monkeypatch):
    monkeypatch.setattr(decode, "LARGEST", 700)
    with pytest.raises(UserError, match="photos/cats/4.png: 30 × 24 pixels; allowed: at most 700"):
        prepared()
    with pytest.raises(decode.DamagedImage, match="none.png: No such file"):
        decode.decode(Path("none.png"), 8)
    for path in photos.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(UserError, match="none of the 12 images can be used"):
        prepared(corrupt="skip")


def test_what_is_transparent_becomes_white():
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save("clear.png")
    Image.new("L", (10, 10), 7).save("grey.png")
    assert (decode.decode(Path("clear.png"), 8).pixels == 255).all()
    assert (decode.decode(Path("grey.png"), 8).pixels == 7).all()


def test_copies_share_a_group(photos, large):
    shutil.copy(photos / "cats" / "1.png", photos / "dogs" / "copy.png")
    items = prepared().items.set_index("id")
    assert items["group"]["dogs/copy.png"] == items["group"]["cats/1.png"]
    assert items["group"].nunique() == 12


def test_an_image_that_is_lost_later_is_named(photos, monkeypatch):
    monkeypatch.setattr(folder, "LARGE", 5)
    dataset = prepared()
    (photos / "cats" / "0.png").unlink()
    with pytest.raises(UserError, match="photos/cats/0.png: cannot be decoded .* Prepare the data set again."):
        dataset.image(0)


def test_views_of_files_are_the_same_wherever_they_are_asked_for(photos, monkeypatch):
    monkeypatch.setattr(folder, "LARGE", 5)
    dataset = prepared()
    views = Views(dataset, Augmentation(crop_scale=0.3, flip=0.5, color_jitter=0.3))
    together = views([1, 2, 3], [0, CLEAN, 1])
    assert together.shape == (3, 3, 16, 16)
    assert (views([3], [1])[0] == together[2]).all()
    expected = np.asarray(Image.open(photos / "cats" / "2.png").resize((16, 16), Image.Resampling.BILINEAR))
    assert (together[1].numpy().transpose(1, 2, 0) == expected).all()
    again = pickle.loads(pickle.dumps(views))
    assert (again([1], [0])[0] == together[0]).all()


def test_other_processes_prepare_the_same_batches(photos, large, backbone):
    grid = {"name": "main", "dataset": "folder:photos", "loss": "ce", "batch_size": 4}
    augmentation = {"folder:photos": {"size": 32, "augmentation": {"crop_scale": 0.5}}}
    cell = union(cells_of(parse_experiment({"name": "test", "grids": [grid], "datasets": augmentation}, "")))[0]
    dataset, description = prepared(size=32), read_json(backbone / "backbone.json")
    trunk, _ = split_backbone(load_backbone(backbone, 32), "none")
    batches = [(np.array([first, first + 1]), np.array([0, 3])) for first in range(6)]
    state = torch.get_rng_state()
    here, elsewhere = (
        list(ComputedInputs(cell, dataset, trunk, description, torch.device("cpu"), workers=workers).stream(batches))
        for workers in (0, 2)
    )
    assert len(here) == len(elsewhere) == 6
    assert all(torch.equal(one, other) for one, other in zip(here, elsewhere, strict=True))
    assert here[0].dtype == torch.uint8
    assert torch.equal(torch.get_rng_state(), state)


def test_a_data_set_of_the_users_own_by_import_path(monkeypatch):
    sys.modules.pop("my_data", None)
    Path("my_data.py").write_text(
        "from dataclasses import replace\n"
        "from clce_bench.data.sources.digits import DIGITS\n"
        "MYSET = replace(DIGITS, name='mine', images='mine')\n"
        "NOTHING = 3\n"
    )
    monkeypatch.syspath_prepend(Path.cwd())
    plan = plan_for("my_data:MYSET", size=8)
    (job,) = plan.jobs["dataset"].values()
    assert plan.cells[0].directory.parts[2].startswith("my_data-MYSET-")
    prepare_dataset(job.spec, Path("data"))
    assert read_json(Path("data/dataset.json"))["name"] == "my_data:MYSET"
    assert len(pd.read_parquet("data/items.parquet")) == 1797
    with pytest.raises(UserError, match="my_data:NOTHING: there is no Dataset called 'NOTHING' in .*my_data.py"):
        plan_for("my_data:NOTHING")
    with pytest.raises(UserError, match="no_data: there is no such Python module"):
        plan_for("no_data:MYSET")


def save(path, values, file_format=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, file_format)
    return path


RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_grey_of_16_bits_keeps_its_shades(name):
    pixels = decode.decode(save(Path(name), np.round(RAMP * 65535).astype(np.uint16)), 8).pixels
    # Each shade of 16 bits is 1/257 of a shade of 8.
    assert (pixels == np.round(np.round(RAMP * 65535) / 257)[..., None]).all()
    assert len(np.unique(pixels)) == 64


def test_grey_of_a_pgm_is_scaled_by_the_range_that_it_states():
    Path("a.pgm").write_bytes(b"P5\n2 2\n1000\n" + np.array([0, 500, 1000, 250], ">u2").tobytes())
    assert decode.decode(Path("a.pgm"), 2).pixels[..., 0].tolist() == [[0, 128], [255, 64]]


@pytest.mark.parametrize("name", ["a.tiff", "a.pfm"])
def test_grey_in_fractions_keeps_its_shades(name):
    file_format = "PPM" if name.endswith("pfm") else None
    pixels = decode.decode(save(Path(name), RAMP, file_format), 8).pixels
    assert np.abs(pixels[..., 0] - RAMP * 255).max() <= 0.5


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((8, 8), 200, np.int32), "32 bits, whose range is not known"),
        (RAMP * 255, "grey from 0 to 255; allowed: fractions from 0 to 1"),
        (RAMP - 0.5, "grey from -0.5 to 0.5; allowed"),
        (np.full((8, 8), np.nan, np.float32), "grey from nan to nan; allowed"),
    ],
    ids=["integers", "shades", "negative", "not a number"],
)
def test_grey_of_an_unknown_range_is_refused(values, reason):
    with pytest.raises(decode.DamagedImage, match=f"a.tif: cannot be decoded .*{reason}"):
        decode.decode(save(Path("a.tif"), values), 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_photographs_are_upright(orientation, name):
    corners = np.zeros((16, 16, 3), np.uint8)
    corners[:8, :8], corners[:8, 8:], corners[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # What a camera stores that was held so: the inverse of what the tag asks for.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](corners)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(
        name, exif=exif, **({"quality": 95, "subsampling": 0} if "jpg" in name else {})
    )
    for pixels in (decode.decode(Path(name), 16).pixels, np.asarray(decode.open_image(Path(name)))):
        for row, column in ((3, 3), (3, 12), (12, 3), (12, 12)):
            assert np.abs(pixels[row, column].astype(int) - corners[row, column]).max() < 40


@pytest.mark.parametrize("file_format", sorted(set(decode.FORMATS) - {"MPO", "PCX", "TGA"}))
def test_every_format_is_read_and_its_endings_are_known(file_format):
    pixels = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    for ending in decode.FORMATS[file_format]:
        if ending in (".pgm", ".pbm", ".pfm"):
            continue  # Not for colours.
        for label in ("one", "other"):
            for number in range(3):
                save(Path("photos", label, f"{number}{ending.upper()}"), pixels + np.uint8(number), file_format)
    found = prepared()
    assert len(found.items) == found.description["images"] >= 6
    assert np.abs(found.pixels.astype(int) - (201, 101, 51)).max() < 12


def test_only_formats_of_photographs_are_opened(monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # Must not be called.
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(ran) print\n%%EOF\n"
    for name, content in (
        ("a.png", script),
        ("b.jpg", b"\xd7\xcd\xc6\x9a" + bytes(40)),  # WMF
        ("c.png", b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 2800),  # FITS
        ("d.gif", b"8BPS\x00\x01" + bytes(60)),  # Photoshop
    ):
        Path(name).write_bytes(content)
        with pytest.raises(decode.DamagedImage, match=f"{name}: cannot be decoded .cannot identify image file.$"):
            decode.decode(Path(name), 8)


@pytest.mark.parametrize("error", [ZeroDivisionError("0"), RecursionError("deep"), KeyError(3), OverflowError("big")])
def test_whatever_a_decoder_raises_is_damage(photos, monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(decode.Image, "open", broken)
    with pytest.raises(decode.DamagedImage, match="0.png: cannot be decoded"):
        decode.decode(photos / "cats" / "0.png", 8)


def test_preparing_again_says_the_same_of_damaged_images(photos):
    for number, content in enumerate((b"", b"<html>", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(30))):
        (photos / "dogs" / f"bad{number}.png").write_bytes(content)
    once, again = (prepared(corrupt="skip").description for _ in range(2))
    assert once == again
    assert len(once["skipped"]) == 4
    assert " at 0x" not in str(once)


@pytest.mark.parametrize(
    "names", [("Train", "Valid", "TEST"), ("training", "dev", "testing"), ("train", "val", "test")]
)
def test_folders_of_parts_are_known_by_their_usual_names(names):
    for name in names:
        draw_images(Path("photos", name), count=4)
    items = prepared().items
    assert items["part"].value_counts().to_dict() == {"train": 8, "validation": 8, "test": 8}
    assert set(items["class"]) == {"cats", "dogs"}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train/a", "train/b", "test/a", "extra"), "has test, train beside extra; allowed: classes, or parts"),
        (("Train/a", "Train/b", "masks"), "has Train beside masks"),
        (("train", "test", "bus"), "has test, train beside bus"),
        (("train/a", "train/b", "val/a", "valid/a"), "has train, val, valid, of which two are the same part"),
        (("Valid/a", "Test/a"), "has Test, Valid but no train"),
    ],
)
def test_mixtures_of_parts_and_classes_are_refused(folders, expected):
    draw_images(Path("photos"), folders, 4)
    with pytest.raises(UserError, match=f"folder:photos: {expected}"):
        plan_for("folder:photos")


@pytest.mark.parametrize("ending", [".txt", ".svg", ".heic", ""])
def test_a_class_without_an_image_that_can_be_read_is_named(photos, ending):
    (photos / "fish").mkdir()
    if ending:
        (photos / "fish" / f"one{ending}").write_bytes(b"content")
    with pytest.raises(UserError, match=r"the class 'fish' has no image that can be read \(.*\.gif.*\) in photos/fish"):
        plan_for("folder:photos")


def test_classes_that_damage_left_too_small_are_named(photos, large):
    for number in range(4):
        (photos / "dogs" / f"{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match="the class 'dogs' has 2 images; at least 3 are needed"):
        prepared(corrupt="skip")
    for number in range(4, 6):
        (photos / "dogs" / f"{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match="no image of the class 'dogs' can be used"):
        prepared(corrupt="skip")
    assert not Path("data/dataset.json").exists()


@pytest.mark.parametrize(
    ("link", "target"),
    [("photos/cats/loop", "."), ("photos/cats/up", ".."), ("photos/again", "cats"), ("photos/cats/far", "../../..")],
)
def test_links_that_multiply_images_are_refused(photos, link, target):
    Path(link).symlink_to(target, target_is_directory=True)
    with pytest.raises(UserError, match="is a link to a folder that is read anyway"):
        plan_for("folder:photos")


def test_links_to_images_and_folders_elsewhere_are_followed(photos):
    shutil.move(photos / "cats", "elsewhere")
    (photos / "cats").symlink_to("../elsewhere", target_is_directory=True)
    shutil.move(photos / "dogs" / "1.png", "one.png")
    (photos / "dogs" / "1.png").symlink_to("../../one.png")
    assert len(prepared().items) == 12


def test_what_is_hidden_is_no_image(photos):
    for hidden in ("cats/.thumbnails/0.png", "cats/._1.png", ".git/0.png"):
        (photos / hidden).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "dogs" / "2.png", photos / hidden)
    assert len(prepared().items) == 12


def test_imbalance_beyond_ten_to_one_is_warned_of(capsys):
    draw_images(Path("photos"), ("cats",), 45)
    draw_images(Path("photos"), ("dogs",), 4)
    text = "folder:photos is imbalanced: its classes have 4 to 45 images (11 : 1)."
    experiment = {
        "name": "x",
        "figures": [],
        "grids": [{"name": "a", "dataset": "folder:photos", "loss": "ce", "batch_size": 4}],
    }
    Path("config.yaml").write_text(yaml.safe_dump(experiment))
    assert command_status(["plan", "--no-cost"]) == 0
    assert f"Warning: {text}" in capsys.readouterr().out
    _, plan = make_up(**experiment, description="")
    (job,) = plan.jobs["dataset"].values()
    prepare_dataset(job.spec, Path(job.output).parent)
    write_summary(plan.experiment, plan.folder)
    write_report(plan.experiment, plan.folder / "report.html")
    assert text in (plan.folder / "report.html").read_text()
    for number in range(40, 45):
        Path(f"photos/cats/{number}.png").unlink()
    assert command_status(["plan", "--no-cost"]) == 0
    assert "imbalanced" not in capsys.readouterr().out
