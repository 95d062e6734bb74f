"""What data sets need before anything can start: downloads, files that only a person can get, and disk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clce_bench.components.registry import load_dataset
from clce_bench.data.dataset import Dataset, File
from clce_bench.data.fetch import data_folder, is_there, readable
from clce_bench.experiment.cells import dataset_directory


@dataclass(frozen=True)
class DataRequirements:
    """What some data sets still need; sizes in bytes, about.

    Attributes:
        datasets: their names.
        download: what is downloaded without asking.
        by_hand: files that need an account.
        disk: what the files, what they unpack to and the prepared images take.
        unknown: files of unknown size, which the sums leave out.
    """

    datasets: tuple[str, ...]
    download: int
    by_hand: int
    disk: int
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        if not self.datasets:
            return ""
        parts = [f"{', '.join(self.datasets)}: {readable(self.download)} to download" if self.download else ""]
        parts += [f"{readable(self.by_hand)} to get by hand" if self.by_hand else ""]
        parts += [f"{readable(self.disk)} of disk" if self.disk else ""]
        parts += [f"not counting {', '.join(self.unknown)}" if self.unknown else ""]
        return "To prepare " + ", ".join(part for part in parts if part) + "."


def requirements_of(wanted: Iterable[tuple[Dataset, int]]) -> DataRequirements:
    """Adds up what data sets need, files that several of them use counting once.

    Args:
        wanted: data sets, each with the height and width in pixels to prepare it at.
    """
    pairs = list(wanted)
    missing = {pair for dataset, _ in pairs for pair in missing_files(dataset)}
    files = [file for _, file in sorted(missing, key=lambda pair: (pair[0], pair[1].name))]
    prepared = sum(dataset.image_count * size * size * 3 for dataset, size in pairs if not dataset.large)
    unpacked = sum(file.size for file in files if file.unpacked)  # Photographs hardly shrink in an archive.
    return DataRequirements(
        datasets=tuple(sorted({dataset.name for dataset, _ in pairs})),
        download=sum(file.size for file in files if file.urls),
        by_hand=sum(file.size for file in files if not file.urls),
        disk=sum(file.size for file in files) + unpacked + prepared,
        unknown=tuple(file.name for file in files if not file.size),
    )


def unprepared(wanted: Iterable[tuple[str, int]], results: Path) -> list[tuple[Dataset, int]]:
    """Picks the data sets that are not prepared yet.

    Args:
        wanted: names of data sets, each with a size in pixels.
        results: the folder of all results.
    """
    pairs = [(load_dataset(name), size) for name, size in sorted(set(wanted))]
    return [
        (dataset, size)
        for dataset, size in pairs
        if not (results / "data" / f"{dataset_directory(dataset.images)}-{size}px" / "dataset.json").exists()
    ]


def all_files(dataset: Dataset) -> Iterator[tuple[Path, File]]:
    """Lists the files that a data set reads, each with its folder, those of other data sets included."""
    for name in dataset.uses:
        yield from all_files(load_dataset(name))
    for file in dataset.files:
        yield data_folder() / dataset.images, file


def missing_files(dataset: Dataset) -> Iterator[tuple[Path, File]]:
    """Lists the files that are neither there nor unpacked, each with its folder."""
    for folder, file in all_files(dataset):
        if not (is_there(file, folder) or (folder / "debian").is_dir()):
            yield folder, file
