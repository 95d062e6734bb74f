"""Data sets that Debian packages: installed, or taken from the package without installing it."""

import logging
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

SHARE = Path("/usr/share")
"""Where installed packages keep their data."""

_log = logging.getLogger(__name__)


def from_debian(package: str, share: str, kept: Path) -> Path | None:
    """Looks for a package's data; apt checks the signed checksum of what it downloads, and needs no root for it.

    Args:
        package: the Debian package.
        share: its folder below :data:`SHARE`.
        kept: the folder to make from it when it is not installed.

    Returns:
        The folder with the data, or ``None`` where neither the package nor a working apt is at hand.
    """
    for folder in (SHARE / share, kept):
        if folder.is_dir():
            return folder
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    _log.info("downloading the Debian package %s", package)
    with TemporaryDirectory(prefix=".debian.", dir=kept.parent) as temporary:
        try:
            _run(["apt-get", "download", "--quiet", package], temporary)
            (archive,) = Path(temporary).glob("*.deb")
            _run(["dpkg-deb", "--extract", archive.name, "content"], temporary)
        except subprocess.CalledProcessError as error:
            _log.info("no Debian package %s: %s", package, error.stderr.strip())
            return None
        Path(temporary, "content/usr/share", share).replace(kept)
    return kept


def _run(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
