"""Unpacking archives of strangers: whole or not at all, and nothing outside the folder."""

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from clce_bench.errors import UserError

MOST_BYTES = 2 * 10**12
"""The most that an archive may unpack to; the largest of the benchmark's has 186 GB."""
MOST_MEMBERS = 5_000_000
MOST_RATIO = 100
"""Unpacked over packed size: photographs hardly compress, and text lists stay far below."""
HARMLESS = 10**7
"""Bytes that any archive may unpack to, whatever the ratio."""

# RuntimeError: an encrypted zip.
_BROKEN: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,
)
# A file and a folder of one name.
_BROKEN += (FileExistsError, IsADirectoryError, NotADirectoryError)


def unpack(archive: Path, into: Path) -> Path:
    """Unpacks a tar or zip archive beside its target and renames the result.

    Args:
        archive: a ``.zip``, or a tar with any of Python's compressions.
        into: the folder to make; nothing happens if it exists. When the archive has a top-level folder of this name,
            that folder is taken, and what is beside it is not.

    Returns:
        ``into``.

    Raises:
        UserError: the archive is broken; or it holds an absolute path, ``..``, a link out of the folder, a device, or
            more than the limits above. Nothing is left behind.
    """
    if into.is_dir():
        return into
    temporary = into.with_name(f".{into.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # Of a run that was killed.
    temporary.mkdir()
    try:
        if archive.suffix == ".zip":
            _unzip(archive, temporary)
        else:
            _untar(archive, temporary)
        inner = temporary / into.name
        (inner if inner.is_dir() else temporary).replace(into)
    except _BROKEN as error:
        raise UserError(f"{archive}: cannot be unpacked: {error}. Remove it and run again.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return into


class _Limits:
    """Counts what an archive unpacks to."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.members = self.bytes = 0
        self.allowed = min(MOST_BYTES, max(HARMLESS, MOST_RATIO * archive.stat().st_size))
        self.free = shutil.disk_usage(archive.parent).free

    def add(self, name: str, size: int) -> None:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise refused(self.archive, name, "lies outside the folder")
        if "\0" in name:
            raise refused(self.archive, name, "is no name of a file")
        self.members += 1
        self.bytes += size
        if self.members > MOST_MEMBERS:
            raise refused(self.archive, name, f"is one more than the {MOST_MEMBERS:,} members allowed")
        if self.bytes > self.allowed:
            raise refused(self.archive, name, f"makes it unpack to more than {self.allowed:,} bytes")
        if self.bytes > self.free:
            raise UserError(f"{self.archive}: unpacks to more than the {self.free:,} bytes that are free.")


def refused(archive: Path, member: str, why: str) -> UserError:
    """Words the error for a member that is not safe."""
    return UserError(f"{archive}: refused, nothing was unpacked: {member!r} {why}.")


class _Stream(tarfile.TarFile):
    """Forgets the members that it has passed: those of a million photographs take gigabytes."""

    def next(self) -> tarfile.TarInfo | None:
        member = super().next()
        self.members: list[tarfile.TarInfo] = []
        return member


def _untar(archive: Path, into: Path) -> None:
    limits = _Limits(archive)
    with _Stream.open(archive) as tar:
        # Written here, not by ``extractall``: its safe filter is missing from Python 3.11 before 3.11.4, and what is
        # neither linked nor set by the archive (owners, modes) needs none.
        for member in _checked(tar, limits):
            target = into / member.name
            folder = target if member.isdir() else target.parent
            folder.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is not None:
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                os.utime(target, (member.mtime, member.mtime))  # What is newer than what decides what runs again.
        while tar.fileobj and tar.fileobj.read(1 << 20):
            pass  # Up to the checksum that a compressed file ends with.


def _checked(tar: tarfile.TarFile, limits: _Limits) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        limits.add(member.name, member.size)
        if member.issym() or member.islnk():
            # Links inside the folder are left out: no data set needs them, and what is not there leads nowhere.
            start = PurePosixPath(member.name).parent if member.issym() else PurePosixPath()
            end = PurePosixPath(os.path.normpath(start / member.linkname))
            if end.is_absolute() or ".." in end.parts:
                raise refused(limits.archive, member.name, f"links out of the folder, to {member.linkname!r}")
        elif member.isfile() or member.isdir():
            yield member
        else:
            raise refused(limits.archive, member.name, "is neither a file nor a folder")


def _unzip(archive: Path, into: Path) -> None:
    limits = _Limits(archive)
    with zipfile.ZipFile(archive) as pack:
        for member in pack.infolist():
            limits.add(member.filename, member.file_size)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refused(archive, member.filename, "is neither a file nor a folder")
        pack.extractall(into)
