import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.config import Augmentation, Split
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.dataset import Dataset, Images
from clce_bench.data.episodes import draw_episodes, load_episodes, make_episodes
from clce_bench.data.openmoji import base_sequence
from clce_bench.data.prepare import merge_identical, prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.splits import divide_classes, divide_images, make_splits
from clce_bench.errors import UserError
from clce_bench.files import read_json, sha256_of
from clce_bench.registry import load_dataset

SPLIT = Split().model_dump()


@pytest.fixture(scope="module")
def openmoji(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openmoji")
    prepare_dataset({"dataset": "openmoji", "size": 96}, folder)
    return folder


def parts_of(folder, items):
    frame = pd.read_parquet(items / "items.parquet")
    return frame.assign(part=pd.read_parquet(folder / "splits.parquet")["part"])


def test_openmoji_has_the_documented_classes_and_images(openmoji):
    dataset = PreparedDataset(openmoji)
    assert dataset.pixels.shape == (1475, 96, 96, 3)
    assert len(dataset.classes) == 44
    assert dataset.items["label"].value_counts().min() == 14
    assert dataset.items["class"].tolist() == [dataset.classes[label] for label in dataset.items["label"]]
    # A drawing on white: corners are mostly white, and no image is blank.
    assert (dataset.pixels[:, 0, 0] == 255).all(axis=1).mean() > 0.9
    assert dataset.pixels.reshape(1475, -1).std(axis=1).min() > 0
    assert dataset.description["sha256"]["images.npy"] == sha256_of(openmoji / "images.npy")


@pytest.mark.parametrize(
    ("variant", "base"),
    [
        ("1F468-200D-1F680", "1F9D1-200D-1F680"),  # man astronaut
        ("1F3C3-200D-2640-FE0F", "1F3C3"),  # woman running
        ("1F3C3-200D-2640-FE0F-200D-27A1-FE0F", "1F3C3"),  # woman running, facing right
        ("1F469-200D-1F9B0", "1F9D1"),  # woman with red hair
        ("2764-FE0F", "2764"),
        ("1F34E", "1F34E"),
    ],
)
def test_variants_share_a_base(variant, base):
    assert base_sequence(variant) == base


def test_identical_images_share_a_group():
    pixels = np.array([[1], [2], [1], [3], [2]], dtype=np.uint8)
    groups = merge_identical(pixels, ["c", "b", "a", "d", "c"])
    assert groups == ["a", "a", "a", "d", "a"]


@pytest.mark.parametrize("name", ["digits", "openmoji", "openmoji-fs"])
def test_default_split_is_as_declared_and_keeps_groups_together(name, openmoji, tmp_path):
    source: Dataset = load_dataset(name)
    data = openmoji
    if source.images != "openmoji":
        data = tmp_path / "data"
        prepare_dataset({"dataset": source.images, "size": 64}, data)
    spec = {"dataset": name, "size": 96, "split": SPLIT}
    make_splits(spec, data / "items.parquet", tmp_path / "splits")
    make_splits(spec, data / "items.parquet", tmp_path / "again")
    frame = parts_of(tmp_path / "splits", data)
    assert (frame["part"] == "train").sum() == source.train_images
    assert (frame.groupby("group")["part"].nunique() == 1).all()
    classes = frame.groupby("label")["part"].nunique()
    assert (classes == (1 if source.task == "few-shot" else 3)).all()
    assert set(frame["part"]) == {"train", "validation", "test"}
    assert read_json(tmp_path / "splits" / "splits.json") == read_json(tmp_path / "again" / "splits.json")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=30, max_size=120), st.integers(0, 9))
def test_dividing_images_follows_the_shares(rows, seed):
    labels = np.unique([label for label, _ in rows], return_inverse=True)[1]
    groups = np.array([f"{label}-{group}-{index // 3}" for index, (label, group) in enumerate(rows)])
    parts = divide_images(labels, groups, (0.6, 0.15, 0.25), np.random.default_rng(seed))
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    largest = max(np.bincount(np.unique(groups, return_inverse=True)[1]))
    for part, share in enumerate((0.6, 0.15, 0.25)):
        assert abs((parts == part).sum() - share * len(rows)) <= largest * (labels.max() + 1) + 1


def test_dividing_classes_keeps_classes_with_common_groups_together():
    labels = np.repeat(np.arange(10), 3)
    groups = np.array([f"g{index}" for index in range(30)])
    groups[[0, 29]] = "common"
    parts = divide_classes(labels, groups, (0.6, 0.2, 0.2), np.random.default_rng(0))
    assert parts[0] == parts[29]
    assert all(len(set(parts[labels == label])) == 1 for label in range(10))
    assert [len(set(labels[parts == part])) for part in range(3)] == [6, 2, 2]
    with pytest.raises(UserError, match="cannot be divided"):
        divide_classes(np.zeros(5, dtype=int), np.arange(5), (0.6, 0.4), np.random.default_rng(0))


def test_episodes_are_deterministic_and_fair(openmoji, tmp_path):
    spec = {"dataset": "openmoji-fs", "size": 96, "split": SPLIT}
    make_splits(spec, openmoji / "items.parquet", tmp_path)
    options = {"count": 50, "way": 5, "shots": [1, 5], "queries": 15, "seed": 0}
    for name in ("one", "two"):
        paths = (openmoji / "items.parquet", tmp_path / "splits.parquet", tmp_path / name)
        make_episodes({**spec, "episodes": options}, *paths)
    assert read_json(tmp_path / "one/episodes.json") == read_json(tmp_path / "two/episodes.json")
    frame = parts_of(tmp_path, openmoji)
    smallest = frame[frame["part"] == "test"].groupby("label")["group"].nunique().min()
    for shot, (support, query) in load_episodes(tmp_path / "one/episodes.npz").items():
        assert support.shape == (50, 5, shot)
        assert query.shape == (50, 5, min(15, smallest - shot))
        rows = np.concatenate([support, query], axis=2)
        assert (frame["part"].to_numpy()[rows] == "test").all()
        labels = frame["label"].to_numpy()[rows]
        assert (labels == labels[:, :, :1]).all()
        assert all(len(set(ways)) == 5 for ways in labels[:, :, 0])
        groups = frame["group"].to_numpy()[rows]
        assert all(len(set(members)) == len(members) for members in groups.reshape(-1, groups.shape[2]))


def test_episodes_that_cannot_be_drawn_are_refused():
    pools = {label: [np.array([10 * label + group]) for group in range(3)] for label in range(4)}
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="episodes.way: 5 is not allowed: the test part has 4 classes"):
        draw_episodes(pools, 1, 5, 1, 15, rng)
    with pytest.raises(UserError, match="episodes.shots: 3 is not allowed: the smallest class has 3 distinct images"):
        draw_episodes(pools, 1, 4, 3, 15, rng)


def test_a_view_is_the_same_picture_wherever_it_is_asked_for(openmoji):
    pixels = PreparedDataset(openmoji).pixels
    views = Views(pixels, Augmentation(crop_scale=0.5, rotation=20, flip=0.5, color_jitter=0.4), "openmoji")
    together = views([3, 4, 5], [0, 1, 2])
    assert together.shape == (3, 3, 96, 96)
    assert (views([4], [1]) == together[1]).all()
    assert not (views([4], [2]) == together[1]).all()
    assert (views([4], [CLEAN])[0].numpy().transpose(1, 2, 0) == pixels[4]).all()
    unchanged = Views(pixels, Augmentation(), "openmoji")
    assert (unchanged([4], [0]) == unchanged([4], [CLEAN])).all()


def test_a_damaged_drawing_is_named(tmp_path, monkeypatch):
    from clce_bench.data import openmoji

    path = tmp_path / "1F34E.svg"
    path.write_text("<svg")
    with pytest.raises(UserError, match="1F34E.svg: this drawing cannot be rendered"):
        openmoji._render(str(path), 16)


def test_a_failing_preparation_leaves_nothing(tmp_path, monkeypatch):
    def broken(_size: int) -> Images:
        raise UserError("image 7 is corrupt")

    monkeypatch.setattr("clce_bench.data.digits.DIGITS", Dataset(**{**vars(load_dataset("digits")), "read": broken}))
    with pytest.raises(UserError, match="image 7 is corrupt"):
        prepare_dataset({"dataset": "digits", "size": 8}, tmp_path / "out")
    assert not any(tmp_path.rglob("*"))
