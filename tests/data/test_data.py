import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.components.registry import load_dataset
from clce_bench.data.augmentation import CLEAN, Views
from clce_bench.data.dataset import Dataset, Images
from clce_bench.data.dealing import divide_classes, divide_images
from clce_bench.data.episodes import draw_episodes, load_episodes, make_episodes
from clce_bench.data.prepare import merge_identical, prepare_dataset
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.data.sources.openmoji import base_sequence
from clce_bench.data.splits import PARTS, divide, make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.dataset_options import ROLES, Split
from clce_bench.experiment.recipes import Augmentation
from clce_bench.files import read_json, sha256_of

SPLIT = Split().model_dump(exclude={*ROLES})


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
    assert merge_identical(["x", "y", "x", "z", "y"], ["c", "b", "a", "d", "c"]) == ["a", "a", "a", "d", "a"]


# Of the rows of train, validation and test, made by the first version of the split: whoever changes them changes what
# earlier results stand for.
FROZEN = {
    "openmoji": ["5cf1317ec5f6ae95", "375797bffdbb960a", "2eae8f484b31417a", "dbeabf72cf7f1f6d", "15fb6fe63a710057"],
    "openmoji-fs": ["fe3668eefcfb4981", "09fc8dbdca80eb3f", "75b342b01310c71a", "35615eb51a5f3d28", "25d4b355a582c463"],
    "digits": ["0832655a3a49e596", "c05c2dd2d5e0ae43", "6d0070d8357e5cf1", "757e08f474af2ce4", "b8ef5dcb0cc28ca7"],
}


def checksum_of(rows):
    text = " ".join(f"{part}:{','.join(map(str, members))}" for part, members in rows.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", FROZEN)
def test_default_split_is_as_declared_and_keeps_groups_together(name, openmoji, tmp_path):
    source: Dataset = load_dataset(name)
    data = openmoji
    if source.images != "openmoji":
        data = tmp_path / "data"
        prepare_dataset({"dataset": source.images, "size": 64}, data)
    spec = {"dataset": name, "size": 96, "split": SPLIT}
    make_splits(spec, data / "items.parquet", tmp_path / "splits")
    make_splits(spec, data / "items.parquet", tmp_path / "again")
    assert read_json(tmp_path / "splits" / "splits.json") == read_json(tmp_path / "again" / "splits.json")
    folds = [rows_by_part(tmp_path / "splits" / "splits.json", fold) for fold in range(5)]
    assert [checksum_of(rows) for rows in folds] == FROZEN[name]
    assert len(folds[0]["train"]) == source.train_images
    items = pd.read_parquet(data / "items.parquet")
    assert sorted(np.concatenate([rows["validation"] for rows in folds])) == sorted(
        np.concatenate([folds[0]["train"], folds[0]["validation"]])
    )
    for rows in folds:
        assert sorted(np.concatenate(list(rows.values()))) == list(range(len(items)))
        parts = pd.concat([items.iloc[members].assign(part=part) for part, members in rows.items()])
        assert (parts.groupby("group")["part"].nunique() == 1).all()
        classes_in = parts.groupby("label")["part"].nunique()
        # Another fold may leave a small class without a validation image, its near-copies being elsewhere.
        assert (classes_in == 1).all() if source.task == "few-shot" else (classes_in >= 2).all()
    with pytest.raises(UserError, match="split.fold: 5 is not allowed: there are folds 0 to 4"):
        rows_by_part(tmp_path / "splits" / "splits.json", 5)


def items_of(labels, parts=None, groups=None):
    ids = [f"{row:05d}" for row in range(len(labels))]
    return pd.DataFrame({"id": ids, "label": labels, "class": labels, "group": groups or ids, "part": parts})


def made_up(task="classification", name="made-up"):
    return replace(load_dataset("digits"), name=name, images="made-up", task=task)


def test_official_parts_stay_and_validation_comes_from_training():
    labels = np.tile(np.arange(4), 50)
    official = ["train"] * 160 + ["test"] * 40
    parts, folds, _ = divide(items_of(labels, official), made_up(), Split())
    assert parts.tolist() == ["train-pool"] * 160 + ["test"] * 40
    assert (folds[160:] == -1).all()
    assert np.bincount(folds[:160]).tolist() == [32] * 5
    assert all(np.bincount(labels[:160][folds[:160] == fold]).tolist() == [8] * 4 for fold in range(5))
    # Another seed divides the training part in another way and leaves the test part alone.
    again, others, _ = divide(items_of(labels, official), made_up(), Split(seed=1))
    assert (again == parts).all()
    assert not (others == folds).all()
    # A set that divides another one's images anew does not use that one's parts.
    assert (divide(items_of(labels, official), made_up(name="re-split"), Split())[0][160:] == "train-pool").any()


def test_an_official_validation_part_leaves_no_folds(tmp_path):
    official = ["train"] * 30 + ["validation"] * 10 + ["test"] * 20
    division = divide(items_of(np.tile(np.arange(2), 30), official), made_up(), Split())
    assert (division.fold == -1).all()
    pd.DataFrame(division._asdict()).to_parquet(tmp_path / "splits.parquet")
    rows = rows_by_part(tmp_path / "splits.json", 0)
    assert {part: len(members) for part, members in rows.items()} == {"train": 30, "validation": 10, "test": 20}
    with pytest.raises(UserError, match="split.fold: 2 is not allowed: the official validation part validates"):
        rows_by_part(tmp_path / "splits.json", 2)


def test_training_and_validation_without_a_test_part():
    official = ["train"] * 80 + ["validation"] * 20
    parts, folds, _ = divide(items_of(np.tile(np.arange(2), 50), official), made_up(), Split())
    assert (parts[80:] == "validation").all()
    assert (parts[:80] == "test").sum() == 20
    assert (folds == -1).all()


def test_official_classes_of_few_shot_sets():
    labels = np.repeat(np.arange(6), 10)
    official = np.repeat(["train", "validation", "test"], 20).tolist()
    parts, _, _ = divide(items_of(labels, official), made_up("few-shot"), Split(images_per_class=4))
    assert [np.bincount(labels[parts == part], minlength=6).tolist() for part in PARTS] == [
        [4, 4, 0, 0, 0, 0],
        [0, 0, 10, 10, 0, 0],
        [0, 0, 0, 0, 10, 10],
        [6, 6, 0, 0, 0, 0],
    ]


def test_fewer_images_per_class_are_among_more():
    labels = np.repeat(np.arange(5), [400, 300, 200, 200, 30])
    groups = [f"{row // 2}" for row in range(len(labels))]
    items = items_of(labels, groups=groups)
    whole, _, _ = divide(items, made_up(), Split())
    trained = {}
    for count in (20, 40, 100):
        parts, folds, _ = divide(items, made_up(), Split(images_per_class=count))
        assert ((parts == "test") == (whole == "test")).all()
        assert ((folds >= 0) == (parts == "train-pool")).all()
        kept = np.bincount(labels[parts == "train-pool"], minlength=5)
        assert kept.tolist() == [min(round(count * 5 / 4), most) for most in np.bincount(labels[whole == "train-pool"])]
        for fold in range(5):
            trained[count, fold] = set(np.flatnonzero((parts == "train-pool") & (folds != fold)))
            sizes = np.bincount(labels[list(trained[count, fold])])[:4]
            assert (np.abs(sizes - count) <= 1).all()
            for group in set(np.array(groups)[list(trained[count, fold])]):
                assert not ((np.array(groups) == group) & (folds == fold)).any()
    for fold in range(5):
        assert trained[20, fold] < trained[40, fold] < trained[100, fold]
    with pytest.raises(UserError, match="split.images_per_class: 500 is not allowed: it would leave nothing out; the"):
        divide(items, made_up(), Split(images_per_class=500))


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


@st.composite
def novel_images(draw):
    """Classes of images in groups of near-copies, in any order, and what to draw of them."""
    groups_in = draw(st.lists(st.integers(3, 7), min_size=2, max_size=6))
    sizes = [[draw(st.integers(1, 3)) for _ in range(number)] for number in groups_in]
    flat = [(label, group, 1) for label, members in enumerate(sizes) for group in range(len(members))]
    flat = [(label, group) for label, group, _ in flat for _ in range(sizes[label][group])]
    labels, groups = np.array(draw(st.permutations(flat))).T
    return (
        labels * 3,
        labels * 100 + groups,
        draw(st.integers(2, len(groups_in))),
        draw(st.integers(1, 2)),
        min(groups_in),
    )


@settings(deadline=None, max_examples=60)
@given(novel_images(), st.integers(1, 9), st.integers(0, 99))
def test_episodes_have_exact_counts_and_no_near_copies(images, queries, seed):
    labels, groups, way, shot, smallest = images
    rng = np.random.Generator(np.random.PCG64(seed))
    support, query = draw_episodes(labels, groups, 40, way, shot, queries, rng)
    assert support.shape == (40, way, shot)
    assert query.shape == (40, way, min(queries, smallest - shot))
    rows = np.concatenate([support, query], axis=2)
    assert (labels[rows] == labels[rows][:, :, :1]).all()
    for episode in rows:
        assert len(set(labels[episode[:, 0]])) == way
        assert len(set(groups[episode].ravel())) == episode.size


def test_every_class_group_and_image_is_drawn_equally_often():
    labels = np.repeat(np.arange(6), 12)
    groups = labels * 12 + np.tile([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7], 6)
    drawn = draw_episodes(labels, groups, 20_000, 3, 1, 2, np.random.Generator(np.random.PCG64(5)))
    rows = np.concatenate(drawn, axis=2)
    # Of six classes three, of their eight groups three (one to support), and of a group's images one.
    expected = 20_000 * (3 / 6) * (3 / 8) * np.tile([1 / 3] * 6 + [1] * 6, 6)
    assert np.abs(np.bincount(rows.ravel(), minlength=72) / expected - 1).max() < 0.08
    supported = np.bincount(drawn.support.ravel(), minlength=72)
    assert np.abs(supported / (expected / 3) - 1).max() < 0.15


def test_episodes_are_the_same_on_every_machine():
    labels = np.repeat(np.arange(20), 30)
    drawn = draw_episodes(labels, np.arange(600) // 2, 500, 5, 5, 15, np.random.Generator(np.random.PCG64(1)))
    text = ",".join(map(str, np.concatenate(drawn, axis=2).ravel()))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "89b4855f83694fa7c060b8b1565a8cd4639381ea81394613ea4d9f0484d58185"
    )


def test_a_group_that_reaches_into_two_classes_is_never_twice_in_an_episode(tmp_path):
    items = pd.DataFrame(
        {"label": np.repeat([0, 1], 6), "group": [f"g{row}" for row in [0, 1, 2, 3, 4, 5, 0, 1, 6, 7, 8, 9]]}
    )
    items.to_parquet(tmp_path / "items.parquet")
    items.assign(part="test", test_fold=0).to_parquet(tmp_path / "splits.parquet")
    options = {"count": 200, "way": 2, "shots": [1], "queries": 2, "seed": 0}
    spec = {"dataset": "pairs", "episodes": options}
    make_episodes(spec, tmp_path / "items.parquet", tmp_path / "splits.parquet", tmp_path / "out")
    rows = np.concatenate(load_episodes(tmp_path / "out/episodes.npz")[1], axis=2).reshape(200, -1)
    assert all(len(set(items["group"].to_numpy()[episode])) == 6 for episode in rows)
    assert set(np.unique(rows)) == set(range(12)) - {6, 7}


def test_episodes_that_cannot_be_drawn_are_refused():
    labels, rng = np.repeat(np.arange(4), 3), np.random.default_rng(0)
    with pytest.raises(UserError, match="episodes.way: 5 is not allowed: the test part has 4 classes"):
        draw_episodes(labels, np.arange(12), 1, 5, 1, 15, rng)
    with pytest.raises(UserError, match="episodes.shots: 3 is not allowed: the smallest class has 3 distinct images"):
        draw_episodes(labels, np.arange(12), 1, 4, 3, 15, rng)


def test_a_view_is_the_same_picture_wherever_it_is_asked_for(openmoji):
    pixels = PreparedDataset(openmoji).pixels
    augmentation = Augmentation(crop_scale=0.5, rotation=20, flip=0.5, color_jitter=0.4)
    views = Views(PreparedDataset(openmoji), augmentation)
    together = views([3, 4, 5], [0, 1, 2])
    assert together.shape == (3, 3, 96, 96)
    assert (views([4], [1]) == together[1]).all()
    assert not (views([4], [2]) == together[1]).all()
    assert (views([4], [CLEAN])[0].numpy().transpose(1, 2, 0) == pixels[4]).all()
    unchanged = Views(PreparedDataset(openmoji), Augmentation())
    assert (unchanged([4], [0]) == unchanged([4], [CLEAN])).all()


def test_a_damaged_drawing_is_named(tmp_path, monkeypatch):
    from clce_bench.data.sources import openmoji

    path = tmp_path / "1F34E.svg"
    path.write_text("<svg")
    with pytest.raises(UserError, match="1F34E.svg: this drawing cannot be rendered"):
        openmoji._render(str(path), 16)


def test_a_failing_preparation_leaves_nothing(tmp_path, monkeypatch):
    def broken(_size: int) -> Images:
        raise UserError("image 7 is corrupt")

    monkeypatch.setattr(
        "clce_bench.data.sources.digits.DIGITS", Dataset(**{**vars(load_dataset("digits")), "read": broken})
    )
    with pytest.raises(UserError, match="image 7 is corrupt"):
        prepare_dataset({"dataset": "digits", "size": 8}, tmp_path / "out")
    assert not any(tmp_path.rglob("*"))
