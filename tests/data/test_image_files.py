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
from PIL import Image
from torchvision.datasets import ImageFolder

from clce_bench.data import decode
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.sources import folder
from clce_bench.errors import UserError
from clce_bench.experiment.cells import cells_of, dataset_directory, union
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Augmentation
from clce_bench.files import read_json
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.planning.plan import plan_of
from clce_bench.training.batches import ComputedInputs


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
    with pytest.raises(UserError, match="Data sets: .*openmoji, .*, a folder like folder:photos, or a path like"):
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
