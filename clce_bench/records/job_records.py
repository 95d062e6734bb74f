"""What each job leaves behind about itself: what was asked for, by which code, from which inputs, with which outputs.

The record of ``train`` is ``cell.json``, that of ``evaluate`` is ``metrics.json``; every other stage leaves
``NAME.job.json`` beside its result. All have ``job``, ``inputs_sha256``, ``outputs_sha256`` and ``modules``.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clce_bench.errors import UserError
from clce_bench.files import digest, read_json, sha256_of, write_json
from clce_bench.records.environment import now

OWN_RECORDS = {"cell.json", "metrics.json"}
CODE = Path("results/code")


def code_file(verb: str, code: str) -> Path:
    """Names the file that says of what modules and functions the code with a fingerprint consists."""
    return CODE / f"{verb}-{code}.json"


def record_path(output: Path) -> Path:
    """Returns where the record of the job lies that makes ``output``, the file that vouches for its others."""
    return output if output.name in OWN_RECORDS else output.with_suffix(".job.json")


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads a record; ``None`` if there is none. What is no record at all counts as an empty one, which fits no job."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("job"), dict) else {}


def content_of(path: Path) -> str:
    """Returns the SHA-256 of a file as its record states it, or computes it where no record does.

    What a cell says to those who read it are its outputs; times and the machine in ``cell.json`` do not count.
    """
    if path.name == "cell.json":
        return digest(read_json(path)["outputs_sha256"], length=64)
    for place in (path.with_suffix(".job.json"), path.with_name("cell.json")):
        known = (read_record(place) or {}).get("outputs_sha256", {}).get(path.name)
        if known:
            return str(known)
    return sha256_of(path)


def modules_of(verb: str, code: str) -> dict[str, str]:
    """Returns a short hash of each module behind a fingerprint; empty where :func:`code_file` is missing."""
    path = code_file(verb, code)
    return {name: digest(outline) for name, outline in read_json(path).items()} if path.exists() else {}


def damaged(record: dict[str, Any], folder: Path) -> tuple[str, bool]:
    """Looks for files that are not what the job wrote.

    A file whose size and time are those of the last look is taken as read; any other is read again.

    Args:
        record: of the job; the sizes and times in it are brought up to date.
        folder: where its files lie.

    Returns:
        The first such file, empty if there is none, and whether the record was changed.
    """
    seen, before = record.setdefault("seen", {}), dict(record.get("seen", {}))
    for name, checksum in record.get("outputs_sha256", {}).items():
        path = folder / name
        if not path.exists() or not _same(path, checksum, seen, name):
            return name, seen != before
    return "", seen != before


def changed_files(record: dict[str, Any], paths: dict[str, str]) -> tuple[list[str], bool]:
    """Names the inputs, files of the user's, whose content is not what the job read; otherwise as :func:`damaged`."""
    seen, before = record.setdefault("seen", {}), dict(record.get("seen", {}))
    changed = [
        name
        for name, path in paths.items()
        if not _same(Path(path), record.get("inputs_sha256", {}).get(name), seen, path)
    ]
    return changed, seen != before


def _same(path: Path, checksum: str | None, seen: dict[str, list[int]], key: str) -> bool:
    if seen.get(key) == _state(path):
        return True
    same = sha256_of(path) == checksum
    if same:
        seen[key] = _state(path)
    return same


def _state(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def check_inputs(job: dict[str, Any]) -> None:
    """Checks that what a job is about to read is what other jobs wrote.

    Raises:
        UserError: a file is missing or was changed.
    """
    for path in map(Path, job.get("inputs", {}).values()):
        record = None if path.name in OWN_RECORDS else read_record(path.with_suffix(".job.json"))
        if record:
            name, _ = damaged(record, path.parent)
            if name:
                reason = "it is not what was written there (or is gone); its SHA-256 is another"
                raise UserError(f"{path.with_name(name)}: {reason}. Run snakemake again: it makes the file anew.")


@contextmanager
def recorded(verb: str, job: dict[str, Any], output: Path, outputs: Iterable[str] = ("*",)) -> Iterator[dict[str, str]]:
    """Runs a job between a check of its inputs and the writing of its record.

    Args:
        verb: the stage.
        job: ``spec``, ``inputs`` and ``code``.
        output: the file that vouches for the others.
        outputs: patterns of the files that the job writes beside it.

    Yields:
        Checksums by name, to be filled, of what the job reads besides its inputs.
    """
    check_inputs(job)
    started = now()
    path = record_path(output)
    path.unlink(missing_ok=True)
    others: dict[str, str] = {}
    yield others
    folder = output.parent
    stated = read_json(output).get("sha256", {}) if output.suffix == ".json" else {}
    files = {file for pattern in outputs for file in folder.glob(pattern) if file.is_file()}
    names = sorted(str(file.relative_to(folder)) for file in files if not file.name.endswith(".job.json"))
    record = {
        "job": job,
        "inputs_sha256": {name: content_of(Path(source)) for name, source in job.get("inputs", {}).items()} | others,
        "outputs_sha256": {name: stated.get(name) or sha256_of(folder / name) for name in names},
        "modules": modules_of(verb, job.get("code", "")),
        "started": started,
        "finished": now(),
        "seen": {name: _state(folder / name) for name in names},
    }
    write_json(path, record)
