"""Torchvision's sets through the adapter, from tiny originals, item by item beside torchvision's own class."""

from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from torchvision.datasets import utils

from clce_bench.components.registry import load_dataset
from clce_bench.data.decode import decode
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.requirements import requirements_of
from clce_bench.data.sources.torchvision_sets import constructor_arguments
from clce_bench.data.sources.torchvision_table import KNOWN
from clce_bench.errors import UserError
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.torchvision_originals import SETS

SIZE = 16


@pytest.fixture
def place(monkeypatch):
    """Puts a tiny original where a person would; its checksums are not the publisher's."""
    monkeypatch.setattr(utils, "check_md5", lambda path, md5, **_: True)

    def put(name):
        root = Path("data", f"torchvision:{name}")
        for path, content in SETS[name]().items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return root

    return put


def theirs(name, root):
    """What torchvision's class gives: part, file (where it has one), class as a number, pixels."""
    kind = getattr(torchvision.datasets, name.partition("-")[0])
    fetch = {"download": False} if "download" in constructor_arguments(kind) else {}
    for part, arguments in KNOWN[name].parts.items():
        dataset = kind(root=root, **arguments, **fetch)
        files = kind(root=root, **arguments, **fetch, loader=str) if KNOWN[name].image_files else None
        for index in range(len(dataset)):
            image, label = dataset[index]
            pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
            yield part, files[index][0] if files else index, label, pixels


NAMES = {
    "CLEVRClassification": {"3", "4"},
    "EMNIST-letters": set("abcdefghijklmnopqrstuvwxyz"),
    "EuroSAT": {"Forest", "River"},
    "FGVCAircraft": {"707-320", "A340-300 X"},
    "GTSRB": {"0", "1"},
    "Imagenette": {"n01440764", "n03888257"},
    "Omniglot": {"Greek/character01", "Greek/character02", "Oriya/character01", "Oriya/character02"},
    "RenderedSST2": {"negative", "positive"},
    "STL10": {"airplane", "bird", "car"},
    "SUN397": {"abbey", "bar", "church/indoor"},
    "SVHN": set("0123456789"),
}


@pytest.mark.parametrize("name", SETS)
def test_items_are_those_of_torchvisions_own_class(place, name):
    root = place(name)
    images = load_dataset(f"torchvision:{name}").read(SIZE)
    expected = list(theirs(name, root))
    if KNOWN[name].image_files:
        order = {part: number for number, part in enumerate(KNOWN[name].parts)}
        expected.sort(key=lambda item: (order[item[0]], str(item[1])))
        assert [str(path) for path in images.pixels] == [path for _, path, _, _ in expected]
        pixels = [decode(path, SIZE).pixels for path in images.pixels]
    else:
        pixels = images.pixels
    assert len(images.ids) == len(set(images.ids)) == len(images.classes) == len(expected)
    assert (images.parts or [""] * len(expected)) == [part for part, *_ in expected]
    for ours, (*_, their_pixels) in zip(pixels, expected, strict=True):
        assert np.array_equal(ours, their_pixels)
    # Omniglot numbers the classes of each part from 0. Each name stands for one number, and each number has one name.
    own = {(part if name == "Omniglot" else "", label) for part, _, label, _ in expected}
    pairs = {
        (ours, part if name == "Omniglot" else "", label)
        for ours, (part, _, label, _) in zip(images.classes, expected, strict=True)
    }
    assert len(pairs) == len(own) == len({ours for ours, *_ in pairs})
    assert set(images.classes) == NAMES.get(name, set(images.classes))


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_table_says_fits_torchvision(name):
    known, kind = KNOWN[name], getattr(torchvision.datasets, name.partition("-")[0])
    arguments = constructor_arguments(kind)
    assert known.image_files is ("loader" in arguments)
    assert all(set(given) <= arguments for given in known.parts.values())
    assert set(known.parts) == set(known.images)
    dataset = load_dataset(f"torchvision:{name}")
    assert 0 < dataset.class_count < dataset.train_images <= dataset.image_count
    assert all(file.urls for file in known.files) is (name not in ("FER2013", "ImageNet", "StanfordCars"))
    assert min(len(known.licence), len(known.citation)) > 2
    assert known.page.startswith("http")


def test_a_set_of_another_size_than_its_publisher_states_is_refused(place):
    place("EuroSAT")
    with pytest.raises(UserError, match=r"torchvision:EuroSAT: 4 images were found instead of 27,000"):
        prepare_dataset({"dataset": "torchvision:EuroSAT", "size": SIZE}, Path("out"))


def test_plan_names_what_is_to_be_downloaded(place):
    grids = [{"name": "main", "dataset": ["torchvision:EuroSAT", "torchvision:STL10"], "loss": "clce"}]
    plan = plan_of(parse_experiment({"name": "t", "grids": grids}, "t.yaml"))
    assert {cell.dataset for cell in plan.cells} == {"torchvision:EuroSAT", "torchvision:STL10"}
    wanted = [(load_dataset(name), 8) for name in grids[0]["dataset"]]
    assert "torchvision:EuroSAT, torchvision:STL10: 2.73 GB to download" in str(requirements_of(wanted))
    place("EuroSAT")
    assert "2.64 GB to download" in str(requirements_of(wanted))


def test_what_cannot_be_had_is_explained(monkeypatch):
    with pytest.raises(UserError, match="'EuroSat' is not a set for classification of torchvision. Did you mean 'Eu"):
        load_dataset("torchvision:EuroSat")
    with pytest.raises(UserError, match=r"data/torchvision:FER2013: files are missing .*\n  fer2013/fer2013.csv"):
        load_dataset("torchvision:FER2013").read(SIZE)

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.eurosat, "download_and_extract_archive", offline)
    with pytest.raises(UserError, match=r"torchvision:EuroSAT: cannot be had in data/torchvision:EuroSAT: no route"):
        load_dataset("torchvision:EuroSAT").read(SIZE)


def test_few_shot_parts_have_classes_of_their_own(place):
    place("Omniglot")
    dataset = load_dataset("torchvision:Omniglot")
    images = dataset.read(SIZE)
    pairs = set(zip(images.classes, images.parts, strict=True))
    assert dataset.task == "few-shot"
    assert len(pairs) == len(set(images.classes))
