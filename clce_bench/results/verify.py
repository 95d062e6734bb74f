"""Whether the files below ``results/`` are what their records say."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from clce_bench.errors import UserError
from clce_bench.files import digest, read_json, sha256_of
from clce_bench.jobs import RESULTS
from clce_bench.results.records import RECORDS, stage_of, vouched

DAMAGE = ("damaged", "missing", "unreadable")
_OWN = {"cell.json", "metrics.json", "failure.txt", "checkpoints", *RECORDS.values()}
_AGAIN = "Remove the folder: it is made again when it is needed."
_RETRAIN = "Remove the folder and run snakemake: the cell is trained again. Or import it from an archive."
_REEVALUATE = "Remove metrics.json and run snakemake: the cell is evaluated again."


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        path: the file.
        problem: ``damaged``, ``missing`` or ``unreadable``; or, which is no damage, ``unexpected`` (a file that nothing
            names), ``left out`` (the weights of an imported cell) or ``other inputs`` (made from other files than lie
            here).
        detail: what is wrong.
        advice: what to do.
    """

    path: str
    problem: str
    detail: str
    advice: str

    @property
    def is_damage(self) -> bool:
        """Whether a result is lost."""
        return self.problem in DAMAGE


def verify(records: Iterable[Path]) -> list[Finding]:
    """Computes the checksums of all files that records vouch for, on all cores.

    Args:
        records: paths of ``dataset.json``, ``cell.json`` and the like; a cell's ``metrics.json`` goes with it.

    Returns:
        What is not as recorded, in the order of the records, inputs that differ at the end.
    """
    paths = list(records)
    absent = left_out()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        found = threads.map(lambda path: list(_check(path, absent)), paths)
        progress = track(found, "Computing checksums", len(paths), console=Console(stderr=True), transient=True)
        findings = [finding for result in progress for finding in result]
    return findings + _other_inputs(path for path in paths if path.name == "cell.json")


def left_out() -> dict[str, str]:
    """Lists the files that imported archives name without having them: SHA-256 by path."""
    manifests = sorted((RESULTS / "imports").glob("*.json"))
    return {path: checksum for manifest in manifests for path, checksum in read_json(manifest)["left_out"].items()}


def _check(path: Path, absent: dict[str, str]) -> Iterator[Finding]:
    """Compares a result with its record."""
    folder, is_cell = path.parent, path.name == "cell.json"
    advice = _RETRAIN if is_cell else _AGAIN
    record = _read(path)
    if record is None:
        yield Finding(str(path), "unreadable", "not a record in JSON", advice)
        return
    if is_cell and not folder.name.endswith(f"-{digest(record['job']['spec'])}"):
        yield Finding(str(path), "damaged", "its spec is not the one that the folder is named after", advice)
    checksums = vouched(record)
    for name, expected in checksums.items():
        yield from _compare(folder / name, expected, absent, advice)
    if stage_of(path) == "data":
        yield from _check_images(folder, record)
    if (folder / "metrics.json").exists():
        yield from _check_metrics(folder, record)
    known = {*_OWN, "metrics.npz", *checksums} if is_cell else {path.name, "images.npy", *checksums}
    for file in sorted(folder.iterdir()):
        if file.name not in known:
            yield Finding(str(file), "unexpected", "no record names it", "Remove it, unless you put it there.")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = read_json(path)
        complete = vouched(record) and (path.name != "cell.json" or record["job"]["spec"])
    except (UserError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        return None
    return record if complete else None


def _compare(path: Path, expected: str, absent: dict[str, str], advice: str) -> Iterator[Finding]:
    if path.exists():
        found = sha256_of(path)
        if found != expected:
            yield Finding(str(path), "damaged", f"SHA-256 {found[:12]}…, recorded {expected[:12]}…", advice)
    elif absent.get(str(path)) == expected:
        where = "Nothing here needs it; the archive's author has it."
        yield Finding(str(path), "left out", "the archive that the cell came with does not have it", where)
    else:
        yield Finding(str(path), "missing", "recorded, but not there", advice)


def _check_metrics(folder: Path, cell: dict[str, Any]) -> Iterator[Finding]:
    path, arrays = folder / "metrics.json", folder / "metrics.npz"
    record = _read(path)
    if record is None or "metrics" not in record:
        yield Finding(str(path), "unreadable", "not a record in JSON", _REEVALUATE)
        return
    if record["cell_sha256"] != cell["outputs_sha256"]:
        yield Finding(str(path), "other inputs", "measured on other embeddings than lie here", _REEVALUATE)
    damage = list(_compare(arrays, record["outputs_sha256"]["metrics.npz"], {}, _REEVALUATE))
    yield from damage
    if not damage:
        with np.load(arrays) as outcomes:
            for name, value in record["metrics"].items():
                mean = float(outcomes[f"outcome.{name}"].mean()) if f"outcome.{name}" in outcomes else value
                if abs(mean - value) > 1e-5:
                    detail = f"{name} is {value:g}, but {mean:g} in metrics.npz"
                    yield Finding(str(path), "damaged", detail, _REEVALUATE)


def _check_images(folder: Path, record: dict[str, Any]) -> Iterator[Finding]:
    """Checks the image files of a large data set, which lie elsewhere; one checksum stands for all of them."""
    if not (folder / "items.parquet").exists() or "images.npy" in record["sha256"]:
        return
    files = [Path(name) for name in pd.read_parquet(folder / "items.parquet", columns=["file"])["file"]]
    gone = [path for path in files if not path.is_file()]
    advice = "Put the images back, or remove the folder: the data set is prepared anew, and its cells are stale."
    if gone:
        yield Finding(str(gone[0]), "missing", f"{len(gone)} image files of {record['name']} are gone", advice)
    elif sha256("".join(sha256_of(path) for path in files).encode()).hexdigest() != record["content"]:
        yield Finding(str(folder), "damaged", f"image files of {record['name']} have changed", advice)


def _other_inputs(cells: Iterable[Path]) -> list[Finding]:
    """Lists the inputs here that are not those which cells were trained from, with the number of cells."""
    counts: dict[str, int] = defaultdict(int)
    now: dict[str, str] = {}
    for record in filter(None, map(_read, cells)):
        for name, expected in record["inputs_sha256"].items():
            path = record["job"]["inputs"][name]
            if path not in now:
                now[path] = sha256_of(Path(path)) if Path(path).exists() else ""
            counts[path] += now[path] not in ("", expected)
    advice = "clce-bench status says which cells are stale; snakemake trains those again."
    return [
        Finding(path, "other inputs", f"{count} cells were trained from another version of it", advice)
        for path, count in counts.items()
        if count
    ]
