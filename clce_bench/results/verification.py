"""Whether the files below ``results/`` are what their records say."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from clce_bench.files import digest, read_json, sha256_of
from clce_bench.machine import usable_cores
from clce_bench.planning.measure_jobs import result_of
from clce_bench.planning.plan import RESULTS
from clce_bench.planning.stages import COMPUTED_STAGES
from clce_bench.records.job_records import content_of, read_record
from clce_bench.records.record_models import UNREADABLE, EvaluationRecord
from clce_bench.results.stored_records import FOLDERS

DAMAGE = ("damaged", "missing", "unreadable")
_ADVICE = {
    "cell.json": "Remove the folder, then import the cell from an archive or run snakemake, which trains it again.",
    "metrics.json": "Remove metrics.json and run snakemake: the cell is evaluated again.",
}
_AGAIN = "Remove it and run snakemake: it is made again when it is needed."


@dataclass(frozen=True)
class Problem:
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


def verify(records: Iterable[Path]) -> list[Problem]:
    """Computes the checksums of all files that records vouch for, on all cores.

    Args:
        records: paths of ``cell.json``, ``metrics.json`` and ``….job.json``.

    Returns:
        What is not as recorded, folder by folder, inputs that differ at the end.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in records:
        folders[path.parent].append(path)
    absent = left_out()
    with ThreadPoolExecutor(usable_cores()) as threads:
        found = threads.map(lambda item: list(_check(item[0], item[1], absent)), folders.items())
        console = Console(stderr=True)
        progress = track(found, "Computing checksums", len(folders), console=console, disable=not console.is_terminal)
        findings = [finding for result in progress for finding in result]
    return findings + _other_inputs(path for paths in folders.values() for path in paths)


def left_out() -> dict[str, str]:
    """Lists the files that imported archives name without having them: SHA-256 by path."""
    manifests = sorted((RESULTS / "imports").glob("*.json"))
    return {path: checksum for manifest in manifests for path, checksum in read_json(manifest)["left_out"].items()}


def _check(folder: Path, paths: list[Path], absent: dict[str, str]) -> Iterator[Problem]:
    """Compares the files of a folder with the records in it."""
    named, readable = {path.name for path in paths}, True
    for path in paths:
        record, advice = read_record(path), _ADVICE.get(path.name, _AGAIN)
        if not record or "outputs_sha256" not in record.model_fields_set:
            yield Problem(str(path), "unreadable", "is no record of a job", advice)
            readable = False
            continue
        damage = [
            finding
            for name, expected in record.outputs_sha256.items()
            for finding in _compare(folder / name, expected, absent, advice)
        ]
        yield from damage
        named |= set(record.outputs_sha256)
        if path.name == "cell.json" and not folder.name.endswith(f"-{digest(record.job.spec)}"):
            yield Problem(str(path), "damaged", "its spec is not the one that the folder is named after", advice)
        if isinstance(record, EvaluationRecord) and not damage:
            yield from _check_metrics(path, record.metrics, advice)
        if path.name.startswith("measure-") and not damage:
            yield from _check_metrics(result_of(path), read_json(result_of(path))["metrics"], advice)
        if path.name == "dataset.job.json" and not damage:
            yield from _check_images(folder)
    if readable and folder.relative_to(RESULTS).parts[0] in FOLDERS:
        for file in sorted(folder.iterdir()):
            if file.name not in named | {"cell.json", "metrics.json", "failure.txt", "checkpoints"}:
                yield Problem(str(file), "unexpected", "no record names it", "Remove it, unless you put it there.")


def _compare(path: Path, expected: str, absent: dict[str, str], advice: str) -> Iterator[Problem]:
    if path.exists():
        found = sha256_of(path)
        if found != expected:
            yield Problem(str(path), "damaged", f"SHA-256 {found[:12]}…, recorded {expected[:12]}…", advice)
    elif absent.get(str(path)) == expected:
        where = "Nothing here needs it; who exported the cell has it."
        yield Problem(str(path), "left out", "the archive that the cell came with does not have it", where)
    else:
        yield Problem(str(path), "missing", "recorded, but not there", advice)


def _check_metrics(path: Path, metrics: Mapping[str, float], advice: str) -> Iterator[Problem]:
    """Compares metrics with the single answers behind them, which are in the arrays of the same name."""
    with np.load(path.with_suffix(".npz")) as outcomes:
        for name, value in metrics.items():
            mean = float(outcomes[f"outcome.{name}"].mean()) if f"outcome.{name}" in outcomes else value
            if not math.isfinite(value) or abs(mean - value) > 1e-5:
                detail = f"{name} is {value:g}, but {mean:g} in {path.with_suffix('.npz').name}"
                if not math.isfinite(value):
                    detail = f"{name} is no finite number"
                yield Problem(str(path), "damaged", detail, advice)


def _check_images(folder: Path) -> Iterator[Problem]:
    """Checks the image files of a large data set, which are elsewhere; one checksum stands for all of them."""
    description = read_json(folder / "dataset.json")
    if "images.npy" in description["sha256"]:
        return
    files = [Path(name) for name in pd.read_parquet(folder / "items.parquet", columns=["file"])["file"]]
    gone = [path for path in files if not path.is_file()]
    name, advice = description["name"], f"Put the images back, or remove {folder}: then its cells are stale."
    if gone:
        yield Problem(str(gone[0]), "missing", f"{len(gone)} image files of {name} are gone", advice)
    elif sha256("".join(sha256_of(path) for path in files).encode()).hexdigest() != description["content"]:
        yield Problem(str(folder), "damaged", f"image files of {name} have changed", advice)


def _other_inputs(records: Iterable[Path]) -> list[Problem]:
    """Lists the inputs here that are not those which results were made from, with the number of results."""
    counts: dict[str, int] = defaultdict(int)
    now: dict[str, str] = {}
    for record in filter(None, map(read_record, records)):
        for name, path in record.job.inputs.items():
            if path not in now:
                readable = read_record(Path(path)) not in (None, UNREADABLE) if name == "cell" else Path(path).exists()
                now[path] = content_of(Path(path)) if readable else ""
            # These follow from the other inputs; made again elsewhere, their last bits may be others.
            known = now[path] and name not in COMPUTED_STAGES
            counts[path] += bool(known and now[path] != record.inputs_sha256.get(name))
    advice = "clce-bench status says what is stale; snakemake makes that again."
    return [
        Problem(path, "other inputs", f"{count} results were made from another version of it", advice)
        for path, count in counts.items()
        if count
    ]
