"""How many images a second a core decodes and augments at 224 pixels, against a bare pipeline of the same transforms.

Contenders take turns. What counts is the CPU time of all processes, so that other work on the machine matters little.
Writes docs/benchmarks/loader.md.

    python -m benchmarks.loader
"""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from benchmarks.data import prepare, write_photos
from benchmarks.gpu.training import cell_of
from clce_bench.data.augmentation import build_transform
from clce_bench.data.decode import open_image
from clce_bench.data.prepared import PreparedDataset
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import named
from clce_bench.machine import cpu_name
from clce_bench.training.inputs import ComputedInputs

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "loader.md"
SIZE, BATCH, GOAL = 224, 32, 400
AUGMENTATIONS = {
    "drawings": {"crop_scale": 0.6, "rotation": 10, "flip": 0.5, "color_jitter": 0.2},
    "schane-finetune": named("recipes")["schane-finetune"]["augmentation"],
    "autoaugment": named("augmentations")["autoaugment"],
    "randaugment": named("augmentations")["randaugment"],
}
"""What most of experiments/ has, what CLCE's predecessor has, and the policies of TCL."""
GREY = tuple(round(255 * value) for value in IMAGENET_DEFAULT_MEAN)
POLICY = {"translate_const": int(SIZE * 0.45), "img_mean": GREY, "interpolation": Image.Resampling.BICUBIC}
BARE: dict[str, list[Any]] = {
    "drawings": [
        v2.RandomRotation(10, v2.InterpolationMode.BILINEAR, fill=255),
        v2.RandomResizedCrop(SIZE, scale=(0.6, 1)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2),
    ],
    "schane-finetune": [
        v2.RandomResizedCrop(SIZE, scale=(0.2, 1)),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
    ],
    "autoaugment": [
        v2.RandomResizedCrop(SIZE, scale=(1, 1)),
        v2.RandomCrop(SIZE, padding=4),
        v2.RandomHorizontalFlip(),
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    ],
    "randaugment": [v2.RandomResizedCrop(SIZE, scale=(1, 1)), rand_augment_transform("rand-n2-m5", POLICY)],
}
Pass = Callable[[int], Iterator[Tensor]]
"""Makes a view of each image, the same number again for the same view, in batches."""


class Plain(Dataset[Tensor]):
    """Images that are read and transformed one by one, as in most training scripts."""

    def __init__(self, read: Callable[[int], Any], transform: Any, count: int) -> None:
        self.read, self.transform, self.count = read, transform, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Tensor:
        return torch.as_tensor(self.transform(self.read(row)))


def here(cell: Cell, dataset: PreparedDataset, workers: int) -> Pass:
    """Makes views as training does."""
    inputs = ComputedInputs(cell, dataset, nn.Identity(), {}, torch.device("cpu"), workers=workers)
    rows = np.arange(len(dataset.items)).reshape(-1, BATCH)
    return lambda view: inputs.stream((batch, np.full(BATCH, view)) for batch in rows)


def loaded(cell: Cell, dataset: PreparedDataset, workers: int) -> Pass:
    """Makes of views what is left to the cores beside a GPU."""
    inputs = ComputedInputs(cell, dataset, nn.Identity(), {}, torch.device("cpu"), workers=workers)
    rows = np.arange(len(dataset.items)).reshape(-1, BATCH)

    def views(view: int) -> Iterator[Tensor]:
        inputs.asked.batches = ((batch, np.full(BATCH, view)) for batch in rows)
        return (batch.pixels for batch in inputs.loader)

    return views


def bare(dataset: Plain, workers: int) -> Pass:
    """Makes views as a plain script does."""
    loader = DataLoader(dataset, BATCH, num_workers=workers, persistent_workers=workers > 0)
    return lambda _: iter(loader)


def contenders(name: str, dataset: PreparedDataset, workers: int) -> dict[str, Pass]:
    """Makes the pipeline's loader, that of a plain script, and one that decodes to tensors and works on these."""
    files, count = dataset.files, len(dataset.items)
    found = {"here": here(cell_of(SIZE, BATCH, augmentation=AUGMENTATIONS[name]), dataset, workers)}
    transform = v2.Compose([*BARE[name], v2.PILToTensor()])

    def image(row: int) -> Image.Image:
        return Image.open(files[row]).convert("RGB") if files else Image.fromarray(dataset.pixels[row])

    def tensor(row: int) -> Tensor:
        if files:
            return decode_image(files[row], ImageReadMode.RGB)
        return torch.from_numpy(dataset.pixels[row].copy()).permute(2, 0, 1)

    found["bare"] = bare(Plain(image, transform, count), workers)
    if name != "randaugment":  # timm's operations are on Pillow's images.
        found["tensors"] = bare(Plain(tensor, transform, count), workers)
    if not AUGMENTATIONS[name].get("auto_augment"):
        cell = cell_of(SIZE, BATCH, augmentation={**AUGMENTATIONS[name], "backend": "tensor"})
        found |= {"batches": here(cell, dataset, workers), "loaded": loaded(cell, dataset, workers)}
    return found


def busy() -> float:
    """Returns the CPU seconds of this process and those that it started."""
    children = (child.cpu_times() for child in psutil.Process().children())
    return time.process_time() + sum(times.user + times.system for times in children)


def rates(works: dict[str, Pass], rounds: int) -> dict[str, list[float]]:
    """Returns how many images each makes in a CPU second, round by round, but for the first, in which they start."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for view in range(rounds + 1):
        for name, work in works.items():
            before = busy()
            count = sum(len(batch) for batch in work(view))
            found[name].append(count / (busy() - before))
    return {name: values[1:] for name, values in found.items()}


def parts(name: str, files: list[str], repeats: int = 3) -> str:
    """Says what decoding and each transform take of an image from a file."""
    transform: Any = build_transform(cell_of(SIZE, BATCH, augmentation=AUGMENTATIONS[name]).augmentation, SIZE)
    taken: dict[str, float] = {}
    for file in files * repeats:
        image: Any = Path(file)
        for step in (open_image, *transform.transforms):
            start = time.process_time()
            image = step(image)
            label = getattr(step, "__name__", type(step).__name__)
            taken[label] = taken.get(label, 0.0) + time.process_time() - start
    each = (f"`{label}` {1e3 * seconds / len(files) / repeats:.2f}" for label, seconds in taken.items())
    return f"`{name}`: {', '.join(each)}."


def compare(kind: str, dataset: PreparedDataset, rounds: int) -> list[list[str]]:
    """Measures all recipes on one data set; returns the table's rows."""
    rows = []
    for name in AUGMENTATIONS:
        for workers in (0, 2):
            found = rates(contenders(name, dataset, workers), rounds)
            ratio = statistics.median(a / b for a, b in zip(found["here"], found["bare"], strict=True))
            best = {key: f"{max(values):.0f}" for key, values in found.items()}
            others = (best.get(key, "–") for key in ("tensors", "batches", "loaded"))
            numbers = [best["here"], best["bare"], f"{ratio:.2f}", *others]
            rows.append([kind, f"`{name}`", str(workers), *numbers])
            click.echo(" | ".join(rows[-1]))
    return rows


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--images", default=128, show_default=True, help=f"A multiple of {BATCH}.")
def main(rounds: int, images: int) -> None:
    """Measure, and write docs/benchmarks/loader.md."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        write_photos(photos, images)
        prepared, _ = prepare(f"folder:{photos}", SIZE, Path(folder, "prepared"))
        rows = compare("prepared", prepared, rounds)
        # Large data sets stay files.
        files = [str(photos / name) for name in prepared.items["id"]]
        prepared.items.assign(file=files).to_parquet(Path(folder, "prepared", "items.parquet"))
        rows += compare("JPEG files", PreparedDataset(Path(folder, "prepared")), rounds)
        shares = [parts(name, files[:64]) for name in AUGMENTATIONS]
    about = (
        f"Views of {SIZE} px that a CPU second makes: *here*, as training asks for them; *bare*, by the same "
        "transforms of torchvision and timm in a plain data set; *tensors*, by torchvision's decoder and transforms "
        "on tensors, which give other pictures; *batches*, here with `backend: tensor`, all of it on the core; "
        "*loaded*, the part of that which is left to a core beside a GPU. *Prepared* images are squares in an array; "
        "large data sets stay JPEG files, these of 500 × 375 pixels. `drawings` is the augmentation of most of "
        "`experiments/`; the others are recipes'. CPU seconds are those of all processes together, workers included: a "
        "number is images per second and core."
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm", "pillow"))
    setting = (
        f"{date.today()}, {platform.system()}, {cpu_name()}, Python {platform.python_version()}, {packages}; {rounds} "
        f"rounds in turns of {images} images beside other work on the machine, best round, ratios' median."
    )
    header = ["images", "recipe", "workers", "here", "bare", "here ÷ bare", "tensors", "batches", "loaded"]
    table = [f"| {' | '.join(row)} |" for row in (header, ["---"] * 2 + ["---:"] * 7, *rows)]
    reached = sum(int(row[3]) >= GOAL for row in rows)
    batched = [row for row in rows if row[8] != "–"]
    left = [sum(int(row[8]) >= GOAL for row in batched if row[0] == kind) for kind in ("prepared", "JPEG files")]
    said = (
        f"{reached} of {len(rows)} rows reach {GOAL} images a second and core. Decoding, turning and resizing whole "
        "photographs, and hue, take most of the time, in a plain script as here. With `backend: tensor` "
        "([training](../training.md)) a core beside a GPU has no more to do than *loaded*: "
        f"{left[0]} of {len(batched) // 2} rows of prepared images reach {GOAL}, and {left[1]} of {len(batched) // 2} "
        "of files, where decoding and scaling stay. On a CPU, which does the rest too, it is worth it for files that "
        "are turned. What a GPU makes of it has not been measured; `make gpu-check` does that, and says whether the "
        "loaders of a machine keep its GPU busy."
    )
    text = ["# Decoding and augmenting", "", about, "", *table, "", setting, "", said, ""]
    text += ["What each part takes of an image from a file, in milliseconds:", "", *(f"- {share}" for share in shares)]
    PAGE.write_text("\n".join([*text, "", "Measured by `python -m benchmarks.loader`.", ""]))


if __name__ == "__main__":
    main()
