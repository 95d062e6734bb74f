"""Tiny archives in the layout and format in which each data set is published, with images made here."""

import csv
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from scipy.io import savemat


def colour(number):
    return (number * 37 % 256, number * 91 % 256, number * 53 % 256)


def jpeg(number, width=24, height=18, kind="JPEG"):
    content = io.BytesIO()
    Image.new("RGB", (width, height), colour(number)).save(content, kind)
    return content.getvalue()


def tar(mode, members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as pack:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            pack.addfile(info, io.BytesIO(data))
    return content.getvalue()


def mat(**values):
    content = io.BytesIO()
    savemat(content, values)
    return content.getvalue()


def lines(rows):
    return "".join(f"{row}\n" for row in rows).encode()


class Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as Python 2 wrote its strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value.encode("latin1") if isinstance(value, str) else value
        short = len(content) < 256
        self.write((b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content))) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value):
    """Pickles as Python 2 and the numpy of its time did, which is how CIFAR is published."""
    content = io.BytesIO()
    Python2Pickler(content, protocol=2).dump(value)
    return content.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar_rows(numbers):
    """Images of one colour, as rows of 1024 red, 1024 green and 1024 blue values; one corner tells them apart."""
    rows = np.array([np.repeat(colour(number), 1024) for number in numbers], dtype=np.uint8)
    rows[:, -1] = np.arange(len(rows))
    return rows


def cifar10():
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    members = {"cifar-10-batches-py/batches.meta": {"label_names": names, "num_vis": 3072, "num_cases_per_batch": 2}}
    for number, batch in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        labels = [number, 9 - number] * 2
        members[f"cifar-10-batches-py/{batch}"] = {
            "labels": labels,
            "data": cifar_rows(labels),
            "filenames": list("abcd"),
        }
    packed = {name: python2_pickle(content) for name, content in members.items()}
    return tar("w:gz", {**packed, "cifar-10-batches-py/readme.html": b"<html>"})


def cifar100(coarse_of, fine_names, coarse_names):
    """Two training images and one test image of each class."""
    members = {"meta": {"fine_label_names": fine_names, "coarse_label_names": coarse_names}}
    for part, fine in (("train", [*range(100), *range(99, -1, -1)]), ("test", [*range(100)])):
        coarse = [coarse_names.index(coarse_of[fine_names[label]]) for label in fine]
        members[part] = {"fine_labels": fine, "coarse_labels": coarse, "data": cifar_rows(fine), "filenames": []}
    return tar("w:gz", {f"cifar-100-python/{name}": python2_pickle(content) for name, content in members.items()})


def cub():
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    paths = [f"{name}/{name[4:]}_{number:04d}_{number}.jpg" for name in names for number in range(1, 5)]
    lists = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(names, 1)],
        "images.txt": [f"{number} {path}" for number, path in enumerate(paths, 1)],
        "image_class_labels.txt": [f"{number} {1 + (number > 4)}" for number in range(1, 9)],
        "train_test_split.txt": [f"{number} {number % 2}" for number in range(1, 9)],
    }
    members = {f"CUB_200_2011/{name}": lines(rows) for name, rows in lists.items()}
    members |= {f"CUB_200_2011/images/{path}": jpeg(number) for number, path in enumerate(paths)}
    return tar("w:gz", {"attributes.txt": b"1 has_bill_shape", **members})


def caltech256():
    members = {
        f"256_ObjectCategories/{name}/{name[:3]}_{number:04d}.jpg": jpeg(number)
        for name in ("001.ak47", "002.american-flag", "257.clutter")
        for number in (1, 2, 4)
    }
    # As in the original: a file and a folder that are no images of the class.
    members["256_ObjectCategories/002.american-flag/RENAME2"] = b"#!/bin/sh"
    members["256_ObjectCategories/001.ak47/greg/vision309/001_0001.jpg"] = jpeg(9)
    return tar("w", members)


def flowers102():
    archive = tar("w:gz", {f"jpg/image_{number:05d}.jpg": jpeg(number) for number in range(1, 9)})
    labels = mat(labels=np.array([[77, 77, 1, 102, 102, 102, 77, 1]], dtype=np.uint8))
    members = mat(trnid=np.array([[2, 3, 4]]), valid=np.array([[5]]), tstid=np.array([[1, 6, 7, 8]]))
    return {"102flowers.tgz": archive, "imagelabels.mat": labels, "setid.mat": members}


def pets():
    names = {
        "trainval": ["Abyssinian_100", "Abyssinian_101", "american_bulldog_10", "american_bulldog_11"],
        "test": ["Abyssinian_2", "american_bulldog_201"],
    }
    lists = {
        f"annotations/{part}.txt": lines(f"{name} {1 + name.startswith('am')} 1 1" for name in some)
        for part, some in names.items()
    }
    lists["annotations/README"] = b"..."
    photographs = {
        f"images/{name}.jpg": jpeg(number) for number, name in enumerate([*names["trainval"], *names["test"]])
    }
    photographs["images/Abyssinian_100.mat"] = b"no image"
    return {"annotations.tar.gz": tar("w:gz", lists), "images.tar.gz": tar("w:gz", photographs)}


def inaturalist():
    files = [
        f"train_val_images/{kind}/{name}/{name[:2]}{number}.jpg"
        for kind, name in (("Aves", "Anas acuta"), ("Plantae", "Acer rubrum"))
        for number in range(3)
    ]
    categories = [
        {"id": 7, "name": "Anas acuta", "supercategory": "Aves"},
        {"id": 3, "name": "Acer rubrum", "supercategory": "Plantae"},
    ]
    lists = io.BytesIO()
    with zipfile.ZipFile(lists, "w") as pack:
        for name, numbers in (("train2017.json", [4, 0, 1, 3]), ("val2017.json", [2, 5])):
            images = [{"id": number, "file_name": files[number], "width": 24, "height": 18} for number in numbers]
            labels = [
                {"id": number, "image_id": number, "category_id": 7 if number < 3 else 3} for number in sorted(numbers)
            ]
            content = {"info": {}, "images": images, "annotations": labels, "categories": categories, "licenses": []}
            pack.writestr(name, json.dumps(content))
    archive = tar("w:gz", {file: jpeg(number) for number, file in enumerate(files)})
    return {"train_val_images.tar.gz": archive, "train_val2017.zip": lists.getvalue()}


def places365():
    training = [
        "/a/airfield/00000001.jpg 0",
        "/a/apartment_building/outdoor/00000002.jpg 1",
        "/a/airfield/00000003.jpg 0",
        "/a/apartment_building/outdoor/00000004.jpg 1",
    ]
    testing = ["Places365_val_00000001.jpg 1", "Places365_val_00000002.jpg 0"]
    lists = {
        "categories_places365.txt": lines(["/a/airfield 0", "/a/apartment_building/outdoor 1"]),
        "places365_train_standard.txt": lines(training),
        "places365_val.txt": lines(testing),
        "places365_test.txt": lines(["Places365_test_00000001.jpg"]),
    }
    paths = {row.split()[0]: jpeg(number) for number, row in enumerate(training + testing)}
    return {
        "filelist_places365-standard.tar": tar("w", lists),
        "train_256_places365standard.tar": tar(
            "w", {f"data_256{path}": data for path, data in paths.items() if path[0] == "/"}
        ),
        "val_256.tar": tar("w", {f"val_256/{path}": data for path, data in paths.items() if path[0] != "/"}),
    }


def imagenet(wnids, per_class=2):
    """The three archives; every class has one validation image, in the order of the classes reversed."""
    inner = {}
    for row, wnid in enumerate(wnids):
        numbers = [(number, row * per_class + number) for number in range(per_class)]
        members = {f"{wnid}_{number}.JPEG": jpeg(shade, width=24 + shade // 256) for number, shade in numbers}
        inner[f"{wnid}.tar"] = tar("w", members)
    validation = {f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(number, height=30) for number in range(1, len(wnids) + 1)}
    fields = [
        ("ILSVRC2012_ID", object),
        ("WNID", object),
        ("words", object),
        ("gloss", object),
        ("num_children", object),
    ]
    synsets = np.empty((len(wnids) + 1, 1), dtype=fields)
    for row, wnid in enumerate([*wnids, "n00000001"]):
        synsets[row, 0] = (row + 1, wnid, f"word {row}, other", "a thing", int(row == len(wnids)))
    devkit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": mat(synsets=synsets),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": lines(range(len(wnids), 0, -1)),
        "ILSVRC2012_devkit_t12/readme.txt": b"...",
    }
    return {
        "ILSVRC2012_img_train.tar": tar("w", inner),
        "ILSVRC2012_img_val.tar": tar("w", validation),
        "ILSVRC2012_devkit_t12.tar.gz": tar("w:gz", devkit),
    }


def miniimagenet(split):
    """Lists of two images per class, as easyfsl has them."""
    files = {}
    for name, wnids in split.items():
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["class_name", "image_name"])
        rows.writerows([wnid, f"{wnid}_{number}.JPEG"] for wnid in wnids for number in (1, 0))
        files[f"{name}.csv"] = text.getvalue().encode()
    return files


def idx(values):
    """An IDX file of bytes, gzipped."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
    return gzip.compress(header + values.astype(np.uint8).tobytes())


def fashion_mnist():
    """Noise, and the first three classes in turn."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 9), ("t10k", 3)):
        files[f"{part}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (count, 28, 28)))
        files[f"{part}-labels-idx1-ubyte.gz"] = idx(np.arange(count) % 3)
    return files


def openclipart(folder: Path):
    """The package's folder with two topics of 20 names, and everything that must not be counted."""

    def draw(path, number):
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, width=20 + number, kind="PNG"))

    for number in range(19):
        draw(f"animals/birds/duck_{number}_jane_01.png", number)
    draw("animals/birds/owls/owl_jane_01.png", 50)
    draw("animals/birds/owls/owl_jane_02.png", 51)
    for number in range(20):
        draw(f"food/fruit/fruit_{number}_jim_.png", 100 + number)
    draw("animals/birds/copy_of_duck.png", 0)  # A copy within the topic.
    draw("food/fruit/both.png", 500)  # In two topics, so in none.
    draw("animals/birds/both.png", 500)
    draw("animals/general_01.png", 1)  # On the first level: a copy there does not matter.
    draw("animals/bugs/bee_01.png", 600)  # A topic of one.
    for number in range(25):
        draw(f"unsorted/duplicates/some_{number}.png", 700 + number)
        draw(f"shapes/stars/star_{number}.png", 800 + number)
        draw(f"shapes/flowchart/fc{number:02d}.png", 900 + number)  # 25 drawings of one name.
    (folder / "food/fruit/link.png").symlink_to("fruit_3_jim_.png")
