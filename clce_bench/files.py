"""Files that are whole or absent: canonical JSON, checksums, atomic writing."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from clce_bench.errors import UserError


def canonical_json(value: Any) -> str:
    """Writes a value so that equal values give equal text: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def unordered(value: Any) -> Any:
    """Sorts all lists in a value, so that what differs in their order only is equal."""
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in value.items()}
    return sorted(map(unordered, value), key=canonical_json) if isinstance(value, list | tuple) else value


def digest(value: Any, length: int = 8) -> str:
    """Returns the first ``length`` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (ValueError, RecursionError) as error:  # Not JSON, not UTF-8, or nested too deeply.
        raise UserError(f"{path}: not JSON: {error}.") from None


def read_stored(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object that can be made again; ``None`` where it is missing, was cut off, or is something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


def write_text(path: Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it, so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON for people: indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_if_changed(path: Path, text: str) -> None:
    """Writes a text file unless it already says so, which keeps its modification time."""
    if not path.exists() or path.read_text() != text:
        write_text(path, text)


@contextmanager
def staged(directory: Path, last: str) -> Iterator[Path]:
    """Gives a temporary folder whose files move into ``directory`` when the block succeeds.

    Args:
        directory: where the files belong; made if missing, other files in it are left alone.
        last: the file that vouches for the others; it is moved after all of them.

    Yields:
        The temporary folder, beside ``directory`` so that moving is renaming.
    """
    directory.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield temporary
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == last):
            path.replace(directory / path.name)
    finally:
        shutil.rmtree(temporary)
