"""Data sets that Debian packages: installed, or taken from the package without installing it."""

import logging
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from clce_bench.data.fetch import data_folder

_log = logging.getLogger(__name__)


def from_debian(package: str, share: str, name: str) -> Path | None:
    """Looks for a package's data; apt checks the signed checksum of what it downloads, and needs no root for it.

    Args:
        package: the Debian package.
        share: its folder below ``/usr/share``.
        name: the data set, below whose folder an unpacked package is kept in ``debian/``.

    Returns:
        The folder with the data, or ``None`` where neither the package nor a working apt is at hand.
    """
    kept = data_folder() / name / "debian"
    for folder in (Path("/usr/share", share), kept):
        if folder.is_dir():
            return folder
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    _log.info("%s: downloading the Debian package %s", name, package)
    with TemporaryDirectory(prefix=".debian.", dir=kept.parent) as temporary:
        try:
            _run(["apt-get", "download", "--quiet", package], temporary)
            (archive,) = Path(temporary).glob("*.deb")
            _run(["dpkg-deb", "--extract", archive.name, "content"], temporary)
        except subprocess.CalledProcessError as error:
            _log.info("%s: no Debian package %s: %s", name, package, error.stderr.strip())
            return None
        Path(temporary, "content/usr/share", share).replace(kept)
    return kept


def _run(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
