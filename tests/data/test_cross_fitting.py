"""Parts that test in turn: every image is tested once, every class is novel once, near-copies stay together."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clce_bench.components.registry import load_dataset
from clce_bench.data.episodes import load_episodes, make_episodes
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import rows_by_part
from clce_bench.data.splits import divide, make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.dataset_options import ROLES, Split
from clce_bench.files import read_json
from tests.data.test_data import items_of, made_up


def division_spec(**split):
    return Split(**split).model_dump(exclude={*ROLES})


@pytest.fixture(scope="module")
def openmoji(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openmoji")
    prepare_dataset({"dataset": "openmoji", "size": 16}, folder)
    return folder / "items.parquet"


def test_every_image_is_tested_once_with_all_of_its_near_copies(openmoji, tmp_path):
    make_splits({"dataset": "openmoji", "size": 16, "split": division_spec(test_folds=4)}, openmoji, tmp_path)
    items = pd.read_parquet(openmoji)
    tested = []
    for testing in range(4):
        folds = [rows_by_part(tmp_path / "splits.json", fold, testing) for fold in range(5)]
        tested += folds[0]["test"].tolist()
        for rows in folds:
            assert (rows["test"] == folds[0]["test"]).all()
            assert sorted(np.concatenate(list(rows.values()))) == list(range(len(items)))
            groups = [set(items["group"].iloc[members]) for members in rows.values()]
            assert sum(map(len, groups)) == items["group"].nunique()
            assert set(items["label"].iloc[rows["train"]]) == set(items["label"])
        assert Counter(np.concatenate([rows["validation"] for rows in folds])) == Counter(
            np.concatenate([folds[0]["train"], folds[0]["validation"]])
        )
    assert sorted(tested) == list(range(len(items)))
    written = read_json(tmp_path / "splits.json")
    assert sum(written["test_folds"]) == len(items)
    assert max(written["test_folds"]) - min(written["test_folds"]) < 0.02 * len(items)
    with pytest.raises(UserError, match="split.test_fold: 4 is not allowed: there are parts 0 to 3"):
        rows_by_part(tmp_path / "splits.json", 0, 4)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(12, 40), min_size=2, max_size=5), st.integers(2, 4), st.integers(2, 4), st.integers(0, 5))
def test_classes_are_even_in_every_part_and_every_fold_of_the_rest(sizes, turns, folds, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    division = divide(items_of(labels), made_up(), Split(test_folds=turns, folds=folds, seed=seed))
    for testing, fold in product(range(turns), range(folds)):
        rows = division.rows(fold, testing)
        for label, size in enumerate(sizes):
            counts = {part: int((labels[members] == label).sum()) for part, members in rows.items()}
            assert abs(counts["test"] - size / turns) < 1
            # A fold is even up to a whole image after each part, so without one of them up to three.
            assert abs(counts["validation"] - (size - counts["test"]) / folds) < 3


def test_no_part_depends_on_which_one_tests_or_validates():
    labels = np.tile(np.arange(4), 50)
    one, other = (divide(items_of(labels), made_up(), Split(test_folds=4, test_fold=t, fold=t)) for t in (0, 3))
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    again = divide(items_of(labels), made_up(), Split(test_folds=4, seed=1))
    assert (again.test_fold != one.test_fold).any()


def test_official_parts_do_not_take_turns_but_official_validation_stays():
    labels = np.tile(np.arange(2), 50)
    official = ["train"] * 80 + ["test"] * 20
    with pytest.raises(UserError, match="split.test_folds: 4 is not allowed: made-up has an official test part"):
        divide(items_of(labels, official), made_up(), Split(test_folds=4))
    with pytest.raises(UserError, match="split.class_folds: 2 is not allowed: made-up has an official test part"):
        divide(items_of(np.repeat(np.arange(4), 25), official), made_up("few-shot"), Split(class_folds=2))
    division = divide(items_of(labels, ["train"] * 80 + ["validation"] * 20), made_up(), Split(test_folds=4))
    for testing in range(4):
        rows = division.rows(0, testing)
        assert rows["validation"].tolist() == list(range(80, 100))
        assert [len(rows[part]) for part in ("train", "test")] == [60, 20]


def test_fewer_images_train_and_all_are_tested():
    labels = np.repeat(np.arange(3), [120, 80, 9])
    whole = divide(items_of(labels), made_up(), Split(test_folds=4))
    trained = {}
    for count, subset in product((6, 12), (0, 1)):
        division = divide(items_of(labels), made_up(), Split(test_folds=4, images_per_class=count, subset_seed=subset))
        assert (division.test_fold == whole.test_fold).all()
        for testing in range(4):
            rows = division.rows(0, testing)
            assert (rows["test"] == whole.rows(0, testing)["test"]).all()
            assert not np.isin(rows["test"], np.concatenate([rows["train"], rows["validation"]])).any()
            sizes = np.bincount(labels[rows["train"]], minlength=3)
            assert (np.abs(sizes[:2] - count) <= 2).all()
            trained[count, subset, testing] = set(rows["train"])
    for subset, testing in product((0, 1), range(4)):
        assert trained[6, subset, testing] < trained[12, subset, testing]
    assert all(trained[6, 0, testing] != trained[6, 1, testing] for testing in range(4))


def test_a_class_that_cannot_be_in_every_part_is_named():
    labels = np.repeat(np.arange(2), [40, 1])
    with pytest.raises(UserError, match="has too few distinct images: when part . tests and fold 0 validates"):
        divide(items_of(labels), made_up(), Split(test_folds=4))


def test_every_class_is_novel_once_and_episodes_are_of_novel_classes(openmoji, tmp_path):
    spec = {"dataset": "openmoji-fs", "size": 16, "split": division_spec(class_folds=4)}
    make_splits(spec, openmoji, tmp_path)
    labels, novel = pd.read_parquet(openmoji)["label"].to_numpy(), []
    options = {"count": 40, "way": 5, "shots": [1], "queries": 5, "seed": 0}
    for turn in range(4):
        folds = [rows_by_part(tmp_path / "splits.json", fold, turn) for fold in range(5)]
        for rows in folds:
            classes = [set(labels[members]) for members in rows.values()]
            assert sum(map(len, classes)) == 44
            assert all(classes)
        novel += sorted(set(labels[folds[0]["test"]]))
        paths = (openmoji, tmp_path / "splits.parquet", tmp_path / f"episodes{turn}")
        make_episodes({**spec, "episodes": options, "class_fold": turn}, *paths)
        drawn = load_episodes(tmp_path / f"episodes{turn}/episodes.npz")[1]
        assert set(labels[np.concatenate(drawn, axis=2)].ravel()) == set(labels[folds[0]["test"]])
    assert sorted(novel) == list(range(44))
    written = read_json(tmp_path / "splits.json")["novel_classes"]
    assert sorted(map(len, written)) == [11, 11, 11, 11]


def test_classes_that_share_near_copies_are_novel_together():
    labels = np.repeat(np.arange(12), 4)
    groups = [f"g{row}" for row in range(48)]
    groups[0] = groups[47] = "common"
    division = divide(items_of(labels, groups=groups), made_up("few-shot"), Split(class_folds=3, folds=2))
    assert division.test_fold[0] == division.test_fold[47]
    assert division.fold[0] == division.fold[47]
    assert np.bincount(pd.Series(division.test_fold).groupby(labels).first()).tolist() == [4, 4, 4]


def test_too_few_classes_to_take_turns():
    few = replace(made_up("few-shot"), name="few")
    with pytest.raises(UserError, match="few: 4 classes are too few: none is left when part . tests"):
        divide(items_of(np.repeat(np.arange(4), 5)), few, Split(class_folds=4, folds=4))
    assert load_dataset("openmoji-fs").task == "few-shot"
