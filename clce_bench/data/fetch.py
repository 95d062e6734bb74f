"""Getting the files of a data set: what is in the user's folder first, then downloads; checksums before use.

Files are in ``$CLCE_BENCH_DATA/NAME/`` (``data/NAME/`` by default), whether they came by download or by hand.
"""

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clce_bench.data.archives import unpack
from clce_bench.data.dataset import File
from clce_bench.errors import UserError
from clce_bench.files import read_json, write_json

ATTEMPTS = 3
"""Tries per mirror; each continues where the one before stopped."""
TIMEOUT = (15.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

_log = logging.getLogger(__name__)


def data_folder() -> Path:
    """Returns the folder below which each data set has its own: ``$CLCE_BENCH_DATA``, or ``data``."""
    return Path(os.environ.get("CLCE_BENCH_DATA") or "data")


def obtain(name: str, files: Sequence[File], page: str) -> Path:
    """Makes sure that a data set's files are there and are the right ones.

    Args:
        name: the data set's folder below :func:`data_folder`.
        files: what is needed.
        page: where a person gets what cannot be downloaded.

    Returns:
        The folder, in which every file has the checksum that is known, or that was recorded when it was first seen.

    Raises:
        UserError: a file needs an account, no mirror delivers it, it has another checksum, or the disk is full.
    """
    folder = data_folder() / name
    check_placed(name, files, page)
    with exclusive(folder):
        for file in files:
            if not (folder / file.name).exists():
                _download(file, folder, page)
            _verify(file, folder)
    return folder


def check_placed(name: str, files: Sequence[File], page: str) -> None:
    """Checks that files which cannot be downloaded are there, packed or unpacked.

    Raises:
        UserError: some are not; the message lists all of them, where to get and where to put them.
    """
    folder = data_folder() / name
    missing = [file for file in files if not (file.urls or is_there(file, folder))]
    if missing:
        listing = "\n".join(
            f"  {file.name} ({readable(file.size)}{', ' * bool(file.checksum)}{file.checksum})" for file in missing
        )
        need = f"{folder}: files are missing that need an account or a licence"
        raise UserError(f"{need}:\n{listing}\nGet them at {page} and put them there.")


def is_there(file: File, folder: Path) -> bool:
    """Tells whether a file, or what it unpacks to, is in a folder."""
    return (folder / file.name).exists() or (file.unpacked != "" and (folder / file.unpacked).is_dir())


def obtain_unpacked(name: str, archive: File, page: str) -> Path:
    """Makes sure that an archive is there and unpacked.

    Args:
        name: the data set's folder below :func:`data_folder`.
        archive: the archive; it is not needed when the user has put its content there.
        page: where a person gets what cannot be downloaded.

    Returns:
        The folder ``archive.unpacked``, whole.

    Raises:
        UserError: as :func:`obtain`; or the archive is broken or not safe to unpack.
    """
    target = data_folder() / name / archive.unpacked
    if not target.is_dir():
        folder = obtain(name, [archive], page)
        with exclusive(folder):
            unpack(folder / archive.name, target)
    return target


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other jobs that use the same files waiting, and names the folder when the disk refuses."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = readable(shutil.disk_usage(folder).free)
            hint = "Make room and run again: it goes on where it stopped"
            raise UserError(f"{folder}: the disk is full ({free} left). {hint}.") from None
        raise UserError(f"{error.filename or folder}: {error.strerror or error}.") from None


def readable(size: int) -> str:
    """Writes a number of bytes for people, in powers of ten as disks are sold; ``?`` when it is 0, which is unknown."""
    if not size:
        return "?"
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"


def _download(file: File, folder: Path, page: str) -> None:
    import pooch
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    pooch.get_logger().setLevel("WARNING")
    part = folder / f"{file.name}.part"
    _check_room(folder, file.size - (part.stat().st_size if part.exists() else 0))

    def resume(url: str, temporary: str, _pooch: object) -> None:
        if not file.checksum:
            part.unlink(missing_ok=True)  # Nothing would tell whether the two halves belong together.
        _append(url, part)
        part.replace(temporary)

    failures = []
    for url in file.urls:
        _log.info("%s: downloading %s from %s", folder.name, readable(file.size), url)
        for _ in range(ATTEMPTS):
            try:
                pooch.retrieve(url, file.checksum or None, file.name, folder, downloader=resume)
            except (RequestException, HTTPError) as error:
                failures.append(f"{url}: {error}")
            except ValueError:
                failures.append(f"{url}: what it sent is not the file with {file.checksum}.")
                break
            else:
                return
    reasons = "\n".join(f"  {failure}" for failure in dict.fromkeys(failures))
    hint = f"Run again to go on where it stopped, or get {file.name} elsewhere (see {page}) and put it there"
    raise UserError(f"{folder / file.name}: the download failed. {hint}.\n{reasons}")


def _append(url: str, part: Path) -> None:
    """Downloads what a partial file still lacks; pooch's own downloader would start from the beginning."""
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # It is complete, or too long, which the checksum tells.
        response.raise_for_status()
        start = start if response.status_code == requests.codes.partial_content else 0
        length = response.headers.get("Content-Length")
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        screen = Console(stderr=True)
        progress = Progress(*columns, TimeRemainingColumn(), console=screen, disable=not screen.is_terminal)
        with part.open("ab" if start else "wb") as output, progress:
            task = progress.add_task(part.stem, total=start + int(length) if length else None, completed=start)
            # Raw, because some servers declare a .gz file as a compressed transfer, which must not be undone.
            for chunk in response.raw.stream(1 << 16, decode_content=False):
                output.write(chunk)
                progress.advance(task, len(chunk))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: {readable(needed)} are still to be downloaded, and {readable(free)} are free.")


def _verify(file: File, folder: Path) -> None:
    """Compares a file with the checksum that is known, or else with the one that was recorded at first sight."""
    import pooch

    path, record = folder / file.name, folder / "checksums.json"
    recorded: dict[str, str] = read_json(record) if record.exists() else {}
    expected = file.checksum or recorded.get(file.name)
    algorithm = expected.partition(":")[0] if expected else "sha256"
    found = f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    if not expected:
        write_json(record, {**recorded, file.name: found})
        _log.warning("%s: no checksum was published; %s is recorded in %s and holds from now on.", path, found, record)
    elif found != expected:
        source = "" if file.checksum else f", as {record} says"
        raise UserError(f"{path}: not the right file: {found} instead of {expected}{source}. Remove it and run again.")
