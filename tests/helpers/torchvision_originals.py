"""Tiny copies of torchvision's sets in the layouts in which they are published, by name: what is below the folder."""

import bz2
import csv
import io
import json
import struct

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.helpers.originals import jpeg, lines, mat

RNG = np.random.default_rng(0)


def idx(array):
    """An unpacked file of MNIST's format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def like_mnist(folder, prefixes, classes=10, first=0):
    files = {}
    for number, prefix in enumerate(prefixes):
        count = 2 * classes + number
        files[f"{folder}/raw/{prefix}-images-idx3-ubyte"] = idx(RNG.integers(0, 256, (count, 28, 28)))
        files[f"{folder}/raw/{prefix}-labels-idx1-ubyte"] = idx(np.arange(count) % classes + first)
    return files


def eurosat():
    return {f"eurosat/2750/{c}/{c}_{n}.jpg": jpeg(5 * n + k) for k, c in enumerate(("Forest", "River")) for n in (2, 1)}


def food101():
    names = {
        part: {c: [f"{c}/{i + n}" for n in range(2)] for c in ("waffles", "apple_pie")} for part, i in PARTS.items()
    }
    files = {f"food-101/meta/{part}.json": json.dumps(listed).encode() for part, listed in names.items()}
    stems = [stem for listed in names.values() for some in listed.values() for stem in some]
    return files | {f"food-101/images/{stem}.jpg": jpeg(number) for number, stem in enumerate(stems)}


PARTS = {"train": 100, "test": 200}


def dtd():
    stems = {part: [f"{c}/{c}_{part}_{n}.jpg" for c in ("dotted", "banded") for n in range(2)] for part in SPLITS}
    files = {f"dtd/dtd/labels/{part}1.txt": lines(listed) for part, listed in stems.items()}
    everything = [stem for listed in stems.values() for stem in listed]
    return files | {f"dtd/dtd/images/{stem}": jpeg(number) for number, stem in enumerate(everything)}


SPLITS = ("train", "val", "test")


def aircraft():
    base = "fgvc-aircraft-2013b/data"
    files = {f"{base}/variants.txt": lines(["707-320", "A340-300 X"])}
    for k, part in enumerate(SPLITS):
        rows = [(f"{k}{n:06d}", ("A340-300 X", "707-320")[n % 2]) for n in range(4)]
        files[f"{base}/images_variant_{part}.txt"] = lines(f"{stem} {label}" for stem, label in rows)
        files |= {f"{base}/images/{stem}.jpg": jpeg(int(stem) % 250) for stem, _ in rows}
    return files


def sun397():
    names = ["/a/abbey", "/b/bar", "/c/church/indoor"]
    images = {f"SUN397{name}/sun_{n}{k}.jpg": jpeg(3 * n + k) for k, name in enumerate(names) for n in range(3)}
    return {"SUN397/ClassName.txt": lines(names)} | images


def country211():
    parts = enumerate(("train", "valid", "test"))
    return {
        f"country211/{part}/{c}/{n}.jpg": jpeg(9 * k + n) for k, part in parts for c in ("AD", "ZW") for n in (1, 2)
    }


def rendered_sst2():
    parts = enumerate(("train", "valid", "test"))
    return {
        f"rendered-sst2/{part}/{c}/{n}.png": jpeg(9 * k + n, kind="PNG")
        for k, part in parts
        for c in ("negative", "positive")
        for n in (1, 2)
    }


def clevr():
    files = {}
    for part in ("train", "val"):
        counts = {f"CLEVR_{part}_{n:06d}.png": 3 + n % 2 for n in range(4)}
        scenes = [{"image_filename": name, "objects": [{}] * count} for name, count in counts.items()]
        files[f"clevr/CLEVR_v1.0/scenes/CLEVR_{part}_scenes.json"] = json.dumps({"scenes": scenes}).encode()
        files |= {f"clevr/CLEVR_v1.0/images/{part}/{name}": jpeg(n, kind="PNG") for n, name in enumerate(counts)}
    return files


def imagenette():
    return {
        f"imagenette2/{part}/{wnid}/{wnid}_{n}.JPEG": jpeg(n + len(part))
        for part in ("train", "val")
        for wnid in ("n01440764", "n03888257")
        for n in range(2)
    }


def gtsrb():
    files = {
        f"gtsrb/GTSRB/Training/{label:05d}/00000_{n:05d}.ppm": jpeg(label + n, kind="PPM")
        for label in (0, 1)
        for n in range(3)
    }
    table = io.StringIO()
    writer = csv.DictWriter(table, ["Filename", "Width", "ClassId"], delimiter=";")
    writer.writeheader()
    for n in range(4):
        writer.writerow({"Filename": f"{n:05d}.ppm", "Width": 24, "ClassId": (1, 0)[n % 2]})
        files[f"gtsrb/GTSRB/Final_Test/Images/{n:05d}.ppm"] = jpeg(20 + n, kind="PPM")
    return files | {"gtsrb/GT-final_test.csv": table.getvalue().encode()}


def usps():
    def part(count):
        values = RNG.uniform(-1, 1, (count, 256))
        rows = (
            " ".join([str(n % 10 + 1), *(f"{i}:{v:.4f}" for i, v in enumerate(row, 1))]) for n, row in enumerate(values)
        )
        return bz2.compress(lines(rows))

    return {"usps.bz2": part(12), "usps.t.bz2": part(10)}


def svhn():
    return {
        f"{part}_32x32.mat": mat(
            X=RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8), y=np.arange(count)[:, None] % 10 + 1
        )
        for part, count in (("train", 12), ("test", 11))
    }


def stl10():
    names = ["airplane", "bird", "car"]
    files = {"stl10_binary/class_names.txt": lines(names), "stl10_binary/unlabeled_X.bin": b""}
    for part, count in (("train", 6), ("test", 5)):
        files[f"stl10_binary/{part}_X.bin"] = RNG.integers(0, 256, count * 3 * 96 * 96, dtype=np.uint8).tobytes()
        files[f"stl10_binary/{part}_y.bin"] = bytes(n % 3 + 1 for n in range(count))
    return files


def semeion():
    rows = np.hstack([RNG.integers(0, 2, (20, 256)), np.eye(10, dtype=int)[np.arange(20) % 10]])
    return {
        "semeion.data": lines(" ".join(f"{v:.4f}" if i < 256 else str(v) for i, v in enumerate(row)) for row in rows)
    }


def cars():
    base, files = "stanford_cars", {}
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object)
    files[f"{base}/devkit/cars_meta.mat"] = mat(class_names=names)
    for part, path in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        kinds = [("fname", "O"), ("class", "O")]
        rows = np.array([(f"{n:05d}.jpg", n % 2 + 1) for n in range(1, 5)], dtype=kinds)
        content = io.BytesIO()
        savemat(content, {"annotations": rows})
        files[f"{base}/{path}"] = content.getvalue()
        files |= {f"{base}/cars_{part}/{n:05d}.jpg": jpeg(n + len(part)) for n in range(1, 5)}
    return files


def caltech101():
    return {
        f"caltech101/101_ObjectCategories/{c}/image_{n:04d}.jpg": jpeg(n + len(c))
        for c in ("BACKGROUND_Google", "Faces", "accordion", "Motorbikes", "airplanes", "Faces_easy")
        for n in (1, 2)
    } | {f"caltech101/Annotations/{c}/annotation_0001.mat": b"" for c in ("accordion",)}


def fer2013():
    def row(n, usage):
        return f"{n % 7},{' '.join(map(str, RNG.integers(0, 256, 48 * 48)))},{usage}"

    usages = ["Training"] * 8 + ["PublicTest"] * 4 + ["PrivateTest"] * 3
    return {"fer2013/fer2013.csv": lines(["emotion,pixels,Usage", *(row(n, usage) for n, usage in enumerate(usages))])}


def omniglot():
    def drawing():
        content = io.BytesIO()
        Image.fromarray(RNG.integers(0, 2, (20, 20), dtype=np.uint8) * 255).convert("1").save(content, "PNG")
        return content.getvalue()

    def page(kind, alphabet):
        return {
            f"omniglot-py/images_{kind}/{alphabet}/character{c:02d}/{c:02d}_{n:02d}.png": drawing()
            for c in (1, 2)
            for n in (1, 2)
        }

    archives = {f"omniglot-py/images_{kind}.zip": b"" for kind in ("background", "evaluation")}
    return archives | page("background", "Greek") | page("evaluation", "Oriya")


SETS = {
    "Caltech101": caltech101,
    "CLEVRClassification": clevr,
    "Country211": country211,
    "DTD": dtd,
    "EMNIST-letters": lambda: like_mnist("EMNIST", ("emnist-letters-train", "emnist-letters-test"), 26, 1),
    "EuroSAT": eurosat,
    "FER2013": fer2013,
    "FGVCAircraft": aircraft,
    "Food101": food101,
    "GTSRB": gtsrb,
    "Imagenette": imagenette,
    "KMNIST": lambda: like_mnist("KMNIST", ("train", "t10k")),
    "MNIST": lambda: like_mnist("MNIST", ("train", "t10k")),
    "Omniglot": omniglot,
    "RenderedSST2": rendered_sst2,
    "SEMEION": semeion,
    "STL10": stl10,
    "StanfordCars": cars,
    "SUN397": sun397,
    "SVHN": svhn,
    "USPS": usps,
}
