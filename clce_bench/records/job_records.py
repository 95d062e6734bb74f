"""What each job leaves behind about itself: what was asked for, by which code, from which inputs, with which outputs.

The record of ``train`` is ``cell.json``, that of ``evaluate`` is ``metrics.json``; every other stage leaves
``NAME.job.json`` beside its result. All have ``job``, ``inputs_sha256``, ``outputs_sha256`` and ``modules``.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clce_bench.errors import UserError
from clce_bench.files import digest, read_json, read_stored, sha256_of
from clce_bench.records.environment import now
from clce_bench.records.record_models import (
    UNREADABLE,
    CellRecord,
    EvaluationRecord,
    JobDefinition,
    JobRecord,
)

OWN_RECORDS: dict[str, type[JobRecord]] = {"cell.json": CellRecord, "metrics.json": EvaluationRecord}
"""Results that are their own records."""
CODE = Path("results/code")


def code_file(verb: str, code: str) -> Path:
    """Names the file that says of what modules and functions the code with a fingerprint consists."""
    return CODE / f"{verb}-{code}.json"


def read_outlines(verb: str, code: str) -> dict[str, dict[str, str]] | None:
    """Reads :func:`code_file`; ``None`` where it is missing or was cut off, so that it has to be made again."""
    return read_stored(code_file(verb, code))


def record_path(output: Path) -> Path:
    """Returns where the record of the job lies that makes ``output``, the file that vouches for its others."""
    return output if output.name in OWN_RECORDS else output.with_suffix(".job.json")


def read_record(path: Path) -> JobRecord | None:
    """Reads a record.

    Returns:
        ``None`` if there is none; :data:`UNREADABLE`, which fits no job, for what is no record at all.
    """
    try:
        return OWN_RECORDS.get(path.name, JobRecord).model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return UNREADABLE


def content_of(path: Path) -> str:
    """Returns the SHA-256 of a file as its record states it, or computes it where no record does.

    What a cell says to those who read it are its outputs; times and the machine in ``cell.json`` do not count.
    """
    if path.name == "cell.json":
        return digest(read_json(path)["outputs_sha256"], length=64)
    for place in (path.with_suffix(".job.json"), path.with_name("cell.json")):
        known = (read_record(place) or UNREADABLE).outputs_sha256.get(path.name)
        if known:
            return known
    return sha256_of(path)


def modules_of(verb: str, code: str) -> dict[str, str]:
    """Returns a short hash of each module behind a fingerprint; empty where :func:`code_file` is missing."""
    return {name: digest(outline) for name, outline in (read_outlines(verb, code) or {}).items()}


def other_files(
    expected: Mapping[str, str | None], paths: Mapping[str, Path], seen: dict[str, list[int]]
) -> Iterator[str]:
    """Names the files whose content is not what is expected of them.

    A file whose size and time are those of the last look is taken as read; any other is read again.

    Args:
        expected: SHA-256 by name.
        paths: by name, where they are.
        seen: by name, size and time at the last look; brought up to date.
    """
    for name, path in paths.items():
        if not path.exists():
            yield name
        elif seen.get(name) != _state(path):
            if sha256_of(path) == expected.get(name):
                seen[name] = _state(path)
            else:
                yield name


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
            outputs = {name: path.parent / name for name in record.outputs_sha256}
            for name in other_files(record.outputs_sha256, outputs, dict(record.seen)):
                reason = "it is not what was written there (or is gone); its SHA-256 is another"
                raise UserError(f"{outputs[name]}: {reason}. Run snakemake again: it makes the file anew.")


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
    record = JobRecord(
        job=JobDefinition.model_validate(job),
        inputs_sha256={name: content_of(Path(source)) for name, source in job.get("inputs", {}).items()} | others,
        outputs_sha256={name: stated.get(name) or sha256_of(folder / name) for name in names},
        modules=modules_of(verb, job.get("code", "")),
        started=started,
        finished=now(),
        seen={name: _state(folder / name) for name in names},
    )
    record.write(path)
