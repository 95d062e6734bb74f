"""What every registered data set declares, the next one too; no images are needed."""

import re

import pytest

from clce_bench.components.registry import DATASETS, load_dataset
from clce_bench.data.dataset import Dataset
from clce_bench.data.pretraining_overlap import _IMAGENET
from tests.helpers.miniature import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text()


# Without what the tests themselves register.
@pytest.fixture(params=[name for name, path in DATASETS.items() if path.startswith("clce_bench.")])
def dataset(request):
    found = load_dataset(request.param)
    assert isinstance(found, Dataset)
    assert found.name == request.param
    return found


def test_names_lead_to_registered_data_sets(dataset):
    assert dataset.images in DATASETS
    assert load_dataset(dataset.images).images == dataset.images
    assert set(dataset.uses) <= set(DATASETS) - {dataset.name}
    assert callable(dataset.read)


def test_numbers_fit_together(dataset):
    assert dataset.task in ("classification", "few-shot")
    assert dataset.class_count >= (15 if dataset.task == "few-shot" else 2)
    assert dataset.class_count < dataset.train_images
    # 0 where it depends on the files that the user has.
    assert dataset.image_count == 0 or dataset.train_images < dataset.image_count
    assert not dataset.state


def test_it_says_where_it_comes_from_and_under_what_licence(dataset):
    assert min(len(dataset.source), len(dataset.licence), len(dataset.citation)) >= 3
    assert not dataset.page or dataset.page.startswith(("https://", "http://"))
    assert f"`{dataset.name}`" in PAGE
    assert dataset.name in _IMAGENET


def test_files_can_be_had_and_checked(dataset):
    names = [file.name for file in dataset.files]
    assert len(set(names)) == len(names)
    for file in dataset.files:
        assert file.name
        assert "/" not in file.name
        assert file.size >= 0
        assert re.fullmatch(r"|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)
        # ``apt:`` is a package of Debian.
        assert all(url.startswith(("https://", "http://", "apt:")) for url in file.urls)
        # What nobody can download is placed by hand, from a page that says how to get it.
        assert file.urls or dataset.page
