"""How fast images are read: the prepared data set against torchvision's own classes on the same files.

Run ``python benchmarks/data.py`` in the repository; it prints a table and writes docs/benchmarks/data.md.
"""

import gzip
import pickle
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision.datasets import CIFAR10, FashionMNIST, ImageFolder
from torchvision.transforms import v2

from clce_bench.components.registry import DATASETS
from clce_bench.data.augmentation import CLEAN, Views, build_transform
from clce_bench.data.dataset import Images
from clce_bench.data.episodes import draw_episodes
from clce_bench.data.fetch import data_folder
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.data.resizing import squares
from clce_bench.data.sources.digits import DIGITS
from clce_bench.data.sources.fashion_mnist import FILES
from clce_bench.errors import UserError
from clce_bench.experiment.recipes import Augmentation
from clce_bench.machine import usable_cores

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "data.md"
BATCH = 256
SECONDS = 4.0
AUGMENTATION = Augmentation(crop_scale=0.6, flip=0.5)


class GeneratedCIFAR(CIFAR10):
    """Files in CIFAR-10's format, whose checksums are not CIFAR-10's."""

    train_list = [[f"data_batch_{number}", ""] for number in range(1, 6)]

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        self.classes = [str(label) for label in range(10)]


def write_cifar(folder: Path, images: int = 10_000) -> None:
    """Writes images of noise as CIFAR-10 does: five pickles of flat arrays."""
    rng = np.random.default_rng(0)
    (folder / CIFAR10.base_folder).mkdir()
    for name, _ in GeneratedCIFAR.train_list:
        content = {"data": rng.integers(0, 256, (images // 5, 3072), dtype=np.uint8), "labels": [0] * (images // 5)}
        (folder / CIFAR10.base_folder / name).write_bytes(pickle.dumps(content))


def write_photos(folder: Path, images: int = 1000) -> None:
    """Writes JPEG files as large as ImageNet's usually are, of smooth noise, which compresses like a photograph."""
    rng = np.random.default_rng(0)
    for number in range(images):
        path = folder / f"class{number % 10}" / f"{number:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (94, 125, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


def rate(read: Callable[[Sequence[int]], Tensor], images: int) -> float:
    """Returns how many images a second are read, in batches of random rows, each image once per pass."""
    order = np.random.default_rng(0).permutation(images)
    batches = cycle([order[start : start + BATCH].tolist() for start in range(0, images - BATCH + 1, BATCH)])
    read(next(batches))
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        count += len(read(next(batches)))
    return count / (time.perf_counter() - started)


def torchvision_reader(dataset: Dataset[Any]) -> Callable[[Sequence[int]], Tensor]:
    """Reads batches as training loops do: one image after the other, then stacked."""

    def read(rows: Sequence[int]) -> Tensor:
        images: Tensor = next(iter(DataLoader(dataset, batch_sampler=[rows])))[0]
        return images

    return read


def compare(name: str, size: int, make: Callable[[Any], Dataset[Any]], prepared: PreparedDataset) -> list[str]:
    """Measures both readers on one data set, without and with augmentation; returns table rows."""
    rows = []
    images = len(prepared.items)
    for what, augmentation, views in (("as they are", None, [CLEAN]), ("random crop and flip", AUGMENTATION, [0])):
        scale = v2.Resize((size, size)) if augmentation is None else build_transform(augmentation, size)
        theirs = rate(torchvision_reader(make(v2.Compose([v2.RGB(), scale, v2.PILToTensor()]))), images)
        reader = Views(prepared, augmentation or Augmentation())
        ours = rate(lambda rows, reader=reader, views=views: reader(rows, views * len(rows)), images)
        rows.append(f"| {name}, {size} px, {what} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.1f} |")
        print(rows[-1], flush=True)
    return rows


def prepare(name: str, size: int, folder: Path) -> tuple[PreparedDataset, float]:
    """Prepares a data set; returns it and how many images a second that took."""
    started = time.perf_counter()
    prepare_dataset({"dataset": name, "size": size}, folder)
    prepared = PreparedDataset(folder)
    return prepared, len(prepared.items) / (time.perf_counter() - started)


def loop_episodes(labels: np.ndarray, groups: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws 5-way 5-shot episodes with 15 queries one by one: classes, groups of near-copies, an image of each."""
    pools = [
        [np.flatnonzero(groups == group) for group in np.unique(groups[labels == label])] for label in np.unique(labels)
    ]
    drawn = np.empty((count, 5, 20), dtype=np.int64)
    for episode in drawn:
        for row, label in zip(episode, rng.choice(len(pools), 5, replace=False), strict=True):
            chosen = rng.choice(len(pools[label]), 20, replace=False)
            row[:] = [rng.choice(pools[label][group]) for group in chosen]
    return drawn


def measure_episodes(count: int = 2000) -> str:
    """Draws episodes from 20 classes of 600 images both ways; returns a sentence."""
    labels, groups = np.repeat(np.arange(20), 600), np.arange(12_000) // 2
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    loop_episodes(labels, groups, count, rng)
    loop = time.perf_counter() - started
    started = time.perf_counter()
    draw_episodes(labels, groups, count, 5, 5, 15, rng)
    together = time.perf_counter() - started
    return (
        f"{count:,} 5-way 5-shot episodes with 15 queries, from 20 classes of 600 images in groups of two near-copies: "
        f"{together:.3f} s drawn at once, {loop:.2f} s in a loop over episodes ({loop / together:.0f} times as long)."
    )


def measure(folder: Path) -> tuple[list[str], list[str]]:
    """Measures everything; returns the table's rows and sentences about preparation and episodes."""
    (folder / "photos").mkdir()
    write_cifar(folder)
    write_photos(folder / "photos")
    pixels = GeneratedCIFAR(folder).data
    ids = [str(number) for number in range(len(pixels))]

    def read(size: int) -> Images:
        return Images(squares(pixels, len(pixels), size), ids, ["one"] * len(ids), ids)

    global GENERATED
    GENERATED = replace(DIGITS, name="generated", images="generated", read=read, class_count=0, image_count=0)
    DATASETS["generated"] = f"{__name__}:GENERATED"

    rows, speeds = [], []
    cifar, _ = prepare("generated", 32, folder / "cifar-32")
    rows += compare("CIFAR-10's format", 32, lambda transform: GeneratedCIFAR(folder, transform=transform), cifar)
    cifar, _ = prepare("generated", 64, folder / "cifar-64")
    rows += compare("CIFAR-10's format", 64, lambda transform: GeneratedCIFAR(folder, transform=transform), cifar)
    for size in (64, 224):
        photos, speed = prepare(f"folder:{folder / 'photos'}", size, folder / f"photos-{size}")
        speeds.append(f"{speed:,.0f} JPEG files of 500 × 375 pixels a second to {size} px")
        rows += compare("JPEG files", size, lambda transform: ImageFolder(folder / "photos", transform), photos)
    try:
        fashion, _ = prepare("fashion-mnist", 64, folder / "fashion-64")
    except UserError as error:
        print(f"Fashion-MNIST is left out: {error}")
    else:
        raw = folder / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for file in FILES:
            (found,) = {path.name: path for path in data_folder().rglob(file.name)}.values()
            (raw / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(found.read_bytes()))

        def both_parts(transform: Any) -> Dataset[Any]:
            return ConcatDataset([FashionMNIST(str(folder), train, transform) for train in (True, False)])

        rows += compare("Fashion-MNIST", 64, both_parts, fashion)
    return rows, [f"Preparing, once per data set and size, decodes {' and '.join(speeds)}.", measure_episodes()]


def main() -> None:
    """Measures, prints, writes the page."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows, sentences = measure(Path(folder))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow", "numpy"))
    cores = usable_cores()
    text = [
        "# Reading images",
        "",
        f"Measured {date.today()} with `python benchmarks/data.py` on {cores} CPU cores, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}. Images a second of one process, as uint8 tensors of the size "
        f"that training sees, in batches of {BATCH} random images.",
        "",
        "| data | torchvision's class | prepared | times as fast |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        *sentences,
        "",
        "As they are, images of a prepared data set are copied from an array that is mapped from disk. Augmented, the "
        "same transforms take most of the time on both sides: only decoding is saved, and some time goes into the seed "
        "that makes a view the same wherever it is asked for. That is why the outputs of a frozen trunk are stored for "
        "all augmented views.",
    ]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(text) + "\n")
    print("\n".join(sentences), f"\n{PAGE}")


if __name__ == "__main__":
    main()
