"""Every data set from a tiny archive in its original layout, served on loopback: download, checksum, unpack, parse."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clce_bench.components.registry import DATASETS, load_dataset
from clce_bench.data import debian_packages
from clce_bench.data.dataset import Dataset
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.data.sources import caltech256, cifar, cub, flowers102, imagenet, inaturalist, pets, places365
from clce_bench.data.sources import fashion_mnist as fashion
from clce_bench.data.sources import openclipart as clipart
from clce_bench.data.splits import make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.dataset_options import Split
from tests.helpers import originals
from tests.helpers.originals import colour
from tests.helpers.served import serve

LISTS = {
    name: json.loads(Path(module.__file__).with_suffix(".json").read_text())
    for name, module in (("cifar", cifar), ("imagenet", imagenet))
}


def without_counts(monkeypatch, module):
    """Lets a module's data sets have as many images as their tiny archives do."""
    for name, value in list(vars(module).items()):
        if isinstance(value, Dataset):
            monkeypatch.setattr(module, name, replace(value, class_count=0, image_count=0))


@pytest.fixture
def publish(monkeypatch):
    """Serves archives in place of the originals, with their own checksums."""
    with serve() as server:

        def put(module, archives, **constants):
            server.files |= archives
            without_counts(monkeypatch, module)

            def here(file):
                content = archives[file.name]
                checksum = "md5:" + hashlib.md5(content).hexdigest()
                return replace(file, urls=(server.base + file.name,), checksum=checksum, size=len(content))

            for name, value in constants.items():
                one = here(value) if not isinstance(value, tuple | dict) else None
                many = tuple(here(file) for file in value) if isinstance(value, tuple) else None
                keyed = {key: here(file) for key, file in value.items()} if isinstance(value, dict) else None
                monkeypatch.setattr(module, name, one or many or keyed)
            return server

        yield put


FINE = sorted(name for part in LISTS["cifar"]["cifar-fs"].values() for name in part)
COARSE = sorted(name for part in LISTS["cifar"]["fc100"].values() for name in part)
COARSE_OF = {name: COARSE[number // 5] for number, name in enumerate(FINE)}

# Module, archives, and the constants that name them.
OFFERS = {
    "cifar10": (cifar, lambda: {"cifar-10-python.tar.gz": originals.cifar10()}, ("CIFAR10_FILE",)),
    "cifar100": (
        cifar,
        lambda: {"cifar-100-python.tar.gz": originals.cifar100(COARSE_OF, FINE, COARSE)},
        ("CIFAR100_FILE",),
    ),
    "cub-200-2011": (cub, lambda: {"CUB_200_2011.tgz": originals.cub()}, ("FILE",)),
    "caltech256": (caltech256, lambda: {"256_ObjectCategories.tar": originals.caltech256()}, ("FILE",)),
    "flowers102": (flowers102, originals.flowers102, ("ARCHIVE", "LISTS")),
    "oxford-iiit-pet": (pets, originals.pets, ("IMAGES", "ANNOTATIONS")),
    "inaturalist2017": (inaturalist, originals.inaturalist, ("IMAGES", "ANNOTATIONS")),
    "places365": (places365, originals.places365, ("TRAIN", "VALIDATION", "LISTS")),
    "fashion-mnist": (fashion, originals.fashion_mnist, ("FILES",)),
}


@pytest.fixture
def without_debian(monkeypatch):
    monkeypatch.setattr(debian_packages, "SHARE", Path("no/such/folder"))
    monkeypatch.setattr(debian_packages.shutil, "which", lambda _: None)


@pytest.fixture
def offer(publish, without_debian):
    def offered(name):
        module, archives, constants = OFFERS[name]
        return publish(module, archives(), **{constant: getattr(module, constant) for constant in constants})

    return offered


def counts(images):
    return Counter(zip(images.parts, images.classes, strict=True))


def check(images):
    """What holds for every data set: equal lengths, unique ids, images that open."""
    assert len(images.ids) == len(images.classes) == len(images.groups) == len(images.pixels)
    assert len(set(images.ids)) == len(images.ids)
    assert images.parts is None or len(images.parts) == len(images.ids)
    if isinstance(images.pixels, list):
        for path in images.pixels:
            with Image.open(path) as image:
                image.load()


def test_cifar10(offer):
    server = offer("cifar10")
    images = cifar.read_cifar10(16)
    check(images)
    assert images.pixels.shape == (24, 16, 16, 3)
    assert images.parts == ["train"] * 20 + ["test"] * 4
    assert images.classes[:6] == ["airplane", "truck"] * 2 + ["automobile", "ship"]
    assert images.classes[20:] == ["dog", "deer"] * 2
    assert [tuple(image[3, 5]) for image in images.pixels] == [
        colour(label) for number in range(6) for label in (number, 9 - number) * 2
    ]
    cifar.read_cifar10(32)
    assert len(server.requests) == 1


def test_cifar100(offer):
    offer("cifar100")
    images = cifar.read_cifar100(32)
    check(images)
    assert counts(images) == {("train", name): 2 for name in FINE} | {("test", name): 1 for name in FINE}
    for row in (0, 150, 299):
        assert tuple(images.pixels[row, 7, 7]) == colour(FINE.index(images.classes[row]))


@pytest.mark.parametrize(("name", "expected"), [("cifar-fs", (64, 16, 20)), ("fc100", (60, 20, 20))])
def test_few_shot_sets_of_cifar100_have_the_literatures_classes(offer, name, expected):
    server = offer("cifar100")
    images = load_dataset(name).read(32)
    check(images)
    part_of = dict(zip(images.classes, images.parts, strict=True))
    assert tuple(Counter(part_of.values())[part] for part in ("train", "validation", "test")) == expected
    assert Counter(images.classes) == dict.fromkeys(FINE, 3)
    listed = LISTS["cifar"][name]
    for label, part in part_of.items():
        assert (label if name == "cifar-fs" else COARSE_OF[label]) in listed[part]
    assert [path for path, _ in server.requests] == ["cifar-100-python.tar.gz"]


def test_a_class_split_that_does_not_fit_is_refused(offer, monkeypatch):
    offer("cifar100")
    monkeypatch.setitem(cifar.CLASS_COUNTS, "cifar-fs", (63, 17, 20))
    with pytest.raises(UserError, match=r"\(64, 16, 20\) classes for training, validation and test instead of \(63"):
        cifar.read_few_shot("cifar-fs", 32)


def test_a_foreign_pickle_in_cifars_place_is_named(publish):
    members = {"cifar-100-python/train": originals.python2_pickle({"fine_labels": [0], "data": [1, 2]})}
    archive = originals.tar("w:gz", members)
    publish(cifar, {"cifar-100-python.tar.gz": archive}, CIFAR100_FILE=cifar.CIFAR100_FILE)
    with pytest.raises(UserError, match="cifar-100-python/train: not a file of CIFAR's: 'data' is not an array"):
        cifar.read_cifar100(32)


def test_cub(offer):
    offer("cub-200-2011")
    images = cub.read_cub(32)
    check(images)
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    assert counts(images) == {(part, name): 2 for part in ("train", "test") for name in names}
    assert images.ids[4] == "002.Laysan_Albatross/Laysan_Albatross_0001_1"
    assert images.pixels[4] == Path(
        "data/cub-200-2011/CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross_0001_1.jpg"
    )


def test_caltech256_keeps_the_clutter_and_has_no_parts(offer):
    offer("caltech256")
    images = caltech256.read_caltech256(32)
    check(images)
    assert Counter(images.classes) == {"001.ak47": 3, "002.american-flag": 3, "257.clutter": 3}
    assert images.parts is None
    assert images.ids[:3] == ["001.ak47/001_0001", "001.ak47/001_0002", "001.ak47/001_0004"]


def test_flowers102(offer):
    offer("flowers102")
    images = flowers102.read_flowers102(32)
    check(images)
    assert images.ids[:4] == ["image_00002", "image_00003", "image_00004", "image_00005"]
    assert images.parts == ["train"] * 3 + ["validation"] + ["test"] * 4
    # As on the publisher's page: 77 is the passion flower, 1 the pink primrose, 102 the blackberry lily.
    assert images.classes[:3] == ["passion flower", "pink primrose", "blackberry lily"]


def test_pets(offer):
    offer("oxford-iiit-pet")
    images = pets.read_pets(32)
    check(images)
    assert images.ids[3:] == ["american_bulldog_11", "Abyssinian_2", "american_bulldog_201"]
    assert images.classes == ["Abyssinian"] * 2 + ["american_bulldog"] * 2 + ["Abyssinian", "american_bulldog"]
    assert images.parts == ["train"] * 4 + ["test"] * 2


def test_inaturalist_follows_the_annotations(offer):
    offer("inaturalist2017")
    images = inaturalist.read_inaturalist(32)
    check(images)
    assert images.ids[:2] == ["Plantae/Acer rubrum/Ac1", "Aves/Anas acuta/An0"]
    assert images.classes == [name.rpartition("/")[0] for name in images.ids]
    assert images.parts == ["train"] * 4 + ["test"] * 2


def test_places365(offer):
    offer("places365")
    images = places365.read_places365(32)
    check(images)
    outdoor = "a/apartment_building/outdoor"
    assert images.classes == ["a/airfield", outdoor, "a/airfield", outdoor, outdoor, "a/airfield"]
    assert images.parts == ["train"] * 4 + ["test"] * 2
    assert images.pixels[4] == Path("data/places365/val_256/Places365_val_00000001.jpg")


@pytest.fixture
def archives_of_imagenet(monkeypatch):
    """Puts ImageNet's archives, which need an account, where a person would."""

    def put(wnids):
        without_counts(monkeypatch, imagenet)
        folder = Path("data/imagenet")
        folder.mkdir(parents=True)
        for name, content in originals.imagenet(wnids).items():
            (folder / name).write_bytes(content)
            constant = next(key for key in ("TRAIN", "VALIDATION", "DEVKIT") if getattr(imagenet, key).name == name)
            checksum = "md5:" + hashlib.md5(content).hexdigest()
            monkeypatch.setattr(imagenet, constant, replace(getattr(imagenet, constant), checksum=checksum))

    return put


WNIDS = ["n01440764", "n02869837", "n02102040"]


def test_imagenet_from_the_original_archives(archives_of_imagenet):
    archives_of_imagenet(WNIDS)
    images = imagenet.read_imagenet(32)
    check(images)
    assert counts(images) == {("train", name): 2 for name in WNIDS} | {("test", name): 1 for name in WNIDS}
    held_out = [
        (path.stem[-1], label) for path, label in zip(images.pixels, images.classes, strict=True) if "val" in path.name
    ]
    assert held_out == [("1", WNIDS[2]), ("2", WNIDS[1]), ("3", WNIDS[0])]
    assert {path.name for path in Path("data/imagenet").iterdir() if path.is_dir()} == {
        "train",
        "val",
        "ILSVRC2012_devkit_t12",
    }


def test_an_interrupted_unpacking_of_imagenet_goes_on(archives_of_imagenet, monkeypatch):
    archives_of_imagenet(WNIDS)
    unpack, done = imagenet.unpack, []

    def interrupted(archive, into):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(archive)
        return unpack(archive, into)

    monkeypatch.setattr(imagenet, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imagenet.read_imagenet(32)
    assert not Path("data/imagenet/train").exists()
    monkeypatch.setattr(imagenet, "unpack", unpack)
    assert len(imagenet.read_imagenet(32).ids) == 9


def test_imagenet_from_folders_needs_no_archive():
    for part, name in (("train", "n01440764/n01440764_1"), ("val", "n01440764/ILSVRC2012_val_00000293")):
        path = Path("data/imagenet", part, f"{name}.JPEG")
        path.parent.mkdir(parents=True)
        path.write_bytes(originals.jpeg(1))
    images = imagenet.read_imagenet(32)
    check(images)
    assert counts(images) == {("train", "n01440764"): 1, ("test", "n01440764"): 1}


def test_missing_imagenet_is_explained_at_once():
    with pytest.raises(UserError) as raised:
        imagenet.read_imagenet(32)
    for part in (
        "data/imagenet",
        "ILSVRC2012_img_train.tar (148 GB",
        "img_val.tar (6.74 GB",
        "devkit_t12",
        "image-net.org",
    ):
        assert part in str(raised.value)


def test_imagenet100_has_the_listed_classes(archives_of_imagenet):
    listed = LISTS["imagenet"]["imagenet100"]
    assert len(set(listed)) == 100
    archives_of_imagenet(["n01440764", *listed[:4]])
    images = imagenet.read_imagenet100(32)
    check(images)
    assert set(images.classes) == set(listed[:4])
    assert Counter(images.parts) == {"train": 8, "test": 4}


def test_tieredimagenet_has_the_literatures_classes(archives_of_imagenet):
    listed = LISTS["imagenet"]["tieredimagenet"]
    wnids = [wnid for part in listed.values() for wnid in part]
    archives_of_imagenet([*wnids, "n03126707"])
    images = imagenet.read_tieredimagenet(32)
    assert len(set(images.ids)) == len(images.ids) == 2 * 608
    part_of = dict(zip(images.classes, images.parts, strict=True))
    assert {part: {name for name in part_of if part_of[name] == part} for part in listed} == {
        part: set(names) for part, names in listed.items()
    }
    assert Counter(part_of.values()) == {"train": 351, "validation": 97, "test": 160}


def test_miniimagenet_follows_its_lists(publish, archives_of_imagenet, monkeypatch):
    wnids = LISTS["imagenet"]["imagenet100"]
    split = {"train": wnids[:64], "val": wnids[64:80], "test": wnids[80:]}
    archives_of_imagenet(wnids)
    publish(imagenet, originals.miniimagenet(split), MINI_LISTS=imagenet.MINI_LISTS)
    monkeypatch.setattr(imagenet, "MINI_IMAGES_PER_CLASS", 2)
    images = imagenet.read_miniimagenet(32)
    check(images)
    assert Counter(images.parts) == {"train": 128, "validation": 32, "test": 40}
    assert set(images.classes[-40:]) == set(split["test"])
    monkeypatch.setattr(imagenet, "MINI_IMAGES_PER_CLASS", 600)
    with pytest.raises(UserError, match=r"train.csv: not miniImageNet's: 128 images of 64 classes"):
        imagenet.read_miniimagenet(32)


def test_fashion_mnist_from_its_mirror(publish, without_debian):
    archives = originals.fashion_mnist()
    publish(fashion, archives, FILES=fashion.FILES)
    images = fashion.read_fashion_mnist(28)
    check(images)
    assert images.parts == ["train"] * 9 + ["test"] * 3
    raw = np.random.default_rng(0).integers(0, 256, (9, 28, 28))
    assert (images.pixels[:9] == raw[..., None]).all()
    labels = fashion.read_idx(Path("data/fashion-mnist/t10k-labels-idx1-ubyte.gz"), 1)
    assert images.classes[9:] == [fashion.CLASSES[label] for label in labels]


def test_fashion_mnist_from_debian(monkeypatch):
    monkeypatch.setattr(debian_packages, "SHARE", Path("no/such/folder"))
    monkeypatch.setattr(debian_packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian_packages, "_run", pretend_apt("datasets/fashion-mnist", originals.fashion_mnist()))
    assert len(fashion.read_fashion_mnist(28).ids) == 12
    assert {path.name for path in Path("data/fashion-mnist").iterdir()} == {"debian"}


def pretend_apt(share, files):
    def run(command, folder):
        if command[0] == "apt-get":
            Path(folder, "package.deb").write_bytes(b"")
        else:
            content = Path(folder, "content/usr/share", share)
            content.mkdir(parents=True)
            for name, data in files.items():
                (content / name).write_bytes(data)

    return run


def test_a_file_that_is_no_idx_is_named(publish, without_debian):
    archives = originals.fashion_mnist() | {"train-labels-idx1-ubyte.gz": originals.idx(np.zeros((2, 3)))}
    publish(fashion, archives, FILES=fashion.FILES)
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz: not an IDX file of bytes in 1 dimensions"):
        fashion.read_fashion_mnist(28)


def test_openclipart_takes_topics_without_copies(without_debian):
    originals.openclipart(Path("data/openclipart/png"))
    images = clipart.read_openclipart(32)
    check(images)
    assert Counter(images.classes) == {"animals/birds": 21, "food/fruit": 20}
    assert not any("both" in name or "link" in name for name in images.ids)
    assert len({"animals/birds/copy_of_duck", "animals/birds/duck_0_jane_01"} & set(images.ids)) == 1
    group_of = dict(zip(images.ids, images.groups, strict=True))
    assert group_of["animals/birds/owls/owl_jane_01"] == group_of["animals/birds/owls/owl_jane_02"]
    assert len(set(images.groups)) == 40


def test_openclipart_without_debian_says_what_to_do(without_debian):
    with pytest.raises(UserError, match=r"data/openclipart/png: there is no such folder.* Unpack Debian's package"):
        clipart.read_openclipart(32)


def prepare_and_split(name):
    """Runs the two stages; returns the table of images and the rows of each part."""
    prepare_dataset({"dataset": name, "size": 32}, Path("prepared"))
    spec = {"dataset": name, "size": 32, "split": Split(folds=2).model_dump()}
    make_splits(spec, Path("prepared/items.parquet"), Path("splits"))
    dataset, rows = PreparedDataset(Path("prepared")), rows_by_part(Path("splits/splits.json"), 0)
    assert all(len(some) for some in rows.values())
    assert dataset.image(int(rows["train"][0])).mode == "RGB"
    return dataset.items, rows


def test_imagenet_is_prepared_and_split(archives_of_imagenet):
    archives_of_imagenet(LISTS["imagenet"]["imagenet100"][:4])
    for name in ("imagenet", "imagenet100"):
        items, rows = prepare_and_split(name)
        assert [len(some) for some in rows.values()] == [4, 4, 4]
        assert items["id"].iloc[rows["test"]].str.contains("val").all()


def test_imagenets_few_shot_sets_are_prepared_and_split_by_class(publish, archives_of_imagenet, monkeypatch):
    wnids = LISTS["imagenet"]["imagenet100"]
    tiered = [wnid for part in LISTS["imagenet"]["tieredimagenet"].values() for wnid in part]
    archives_of_imagenet(sorted({*wnids, *tiered}))
    split = {"train": wnids[:64], "val": wnids[64:80], "test": wnids[80:]}
    publish(imagenet, originals.miniimagenet(split), MINI_LISTS=imagenet.MINI_LISTS)
    monkeypatch.setattr(imagenet, "MINI_IMAGES_PER_CLASS", 2)
    for name, counted in (("miniimagenet", [64, 16, 20]), ("tieredimagenet", [351, 97, 160])):
        items, rows = prepare_and_split(name)
        assert [items["class"].iloc[some].nunique() for some in rows.values()] == counted


def test_openclipart_is_prepared_and_split(without_debian, monkeypatch):
    without_counts(monkeypatch, clipart)
    originals.openclipart(Path("data/openclipart/png"))
    items, rows = prepare_and_split("openclipart")
    assert sum(len(some) for some in rows.values()) == len(items) == 41


@pytest.mark.parametrize("name", OFFERS)
def test_what_was_downloaded_is_prepared_and_split(offer, name):
    offer(name)
    prepare_dataset({"dataset": name, "size": 32}, Path("prepared"))
    spec = {"dataset": name, "size": 32, "split": Split(folds=2, test=0.3).model_dump()}
    make_splits(spec, Path("prepared/items.parquet"), Path("splits"))
    images = load_dataset(name).read(32)
    items = PreparedDataset(Path("prepared")).items
    assert items["id"].tolist() == images.ids
    assert items["class"].tolist() == images.classes
    rows = rows_by_part(Path("splits/splits.json"), 0)
    assert sum(len(some) for some in rows.values()) == len(items)
    assert all(len(some) for some in rows.values())
    assert set(items["class"][rows["train"]]) == set(images.classes)
    if images.parts:
        official = np.array(images.parts)
        assert (official[rows["test"]] == "test").all()
        assert len(rows["test"]) == (official == "test").sum()


@pytest.mark.parametrize("name", ["cifar-fs", "fc100"])
def test_few_shot_sets_are_prepared_and_split_by_class(offer, name):
    offer("cifar100")
    prepare_dataset({"dataset": name, "size": 32}, Path("prepared"))
    spec = {"dataset": name, "size": 32, "split": Split().model_dump()}
    make_splits(spec, Path("prepared/items.parquet"), Path("splits"))
    items = PreparedDataset(Path("prepared")).items
    rows = rows_by_part(Path("splits/splits.json"), 0)
    classes = [set(items["class"][some]) for some in rows.values()]
    assert tuple(len(some) for some in classes) == cifar.CLASS_COUNTS[name]
    assert len(set.union(*classes)) == 100


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"tiny", "tiny-fs"}))
def test_every_data_set_says_what_a_user_must_know(name):
    dataset = load_dataset(name)
    assert dataset.name == name
    assert dataset.source
    assert dataset.licence
    assert dataset.citation
    assert dataset.train_images > 0
    assert dataset.image_count == 0 or dataset.train_images < dataset.image_count
    for file in dataset.files:
        assert file.checksum == "" or file.checksum.partition(":")[0] in ("md5", "sha256")
        assert len(file.checksum.partition(":")[2]) in (0, 32, 64)
    assert dataset.page or not dataset.files


@pytest.mark.parametrize(
    ("name", "counts", "expected"),
    [
        ("caltech256", (257, 0), "caltech256: 3 classes were found instead of 257"),
        ("cub-200-2011", (0, 11_788), "cub-200-2011: 8 images were found instead of 11,788"),
        ("cifar10", (10, 60_000), "cifar10: 24 images were found instead of 60,000"),
        ("fashion-mnist", (10, 12), "fashion-mnist: 3 classes were found instead of 10"),
    ],
)
def test_a_part_of_a_known_data_set_is_not_taken_for_it(offer, monkeypatch, name, counts, expected):
    offer(name)
    path, _, constant = DATASETS[name].partition(":")
    known = replace(load_dataset(name), class_count=counts[0], image_count=counts[1])
    monkeypatch.setattr(f"{path}.{constant}", known)
    with pytest.raises(UserError, match=expected):
        prepare_dataset({"dataset": name, "size": 32}, Path("prepared"))
    assert not Path("prepared/dataset.json").exists()
