import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clce_bench.data import archives
from clce_bench.data.archives import unpack
from clce_bench.errors import UserError


def tar_of(*members, mode="w:gz"):
    """Packs members, each a name with bytes or with a function that changes its header."""
    with tarfile.open("some.tar.gz", mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                content(info)
                tar.addfile(info)
    return Path("some.tar.gz")


def zip_of(*members):
    with zipfile.ZipFile("some.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members:
            pack.writestr(name, content)
    return Path("some.zip")


def link_to(target, kind=tarfile.SYMTYPE):
    def change(info):
        info.type, info.linkname = kind, target

    return change


def device(info):
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def refused(archive, why):
    with pytest.raises(UserError, match=why):
        unpack(archive, Path("into"))
    assert names_in(".") == [archive.name]
    assert not Path("../evil").exists()


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_an_archive_becomes_a_folder(pack):
    archive = pack(("a/b.txt", b"text"), ("c.txt", b"more"))
    assert unpack(archive, Path("into")) == Path("into")
    assert Path("into/a/b.txt").read_bytes() == b"text"
    assert Path("into/c.txt").read_bytes() == b"more"
    assert names_in(".") == sorted(["into", archive.name])
    unpack(archive, Path("into"))


def test_what_a_killed_run_left_is_swept_away():
    Path(".into.unpacking").mkdir()
    Path(".into.unpacking/old.txt").write_bytes(b"old")
    unpack(tar_of(("new.txt", b"new")), Path("into"))
    assert names_in(".") == ["into", "some.tar.gz"]
    assert names_in("into") == ["new.txt"]


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_folder_of_the_targets_name_is_the_target(pack):
    unpack(pack(("into/a.txt", b"text"), ("README", b"beside")), Path("into"))
    assert names_in("into") == ["a.txt"]


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_parent_folders_are_refused(pack):
    refused(
        pack(("fine.txt", b""), ("a/../../evil", b"x")), r"refused, nothing was unpacked: 'a/../../evil' lies outside"
    )


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_absolute_paths_are_refused(pack):
    refused(pack(("/tmp/evil", b"x")), "'/tmp/evil' lies outside the folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../evil", "/etc/passwd"])
def test_links_out_of_the_folder_are_refused(kind, target):
    refused(tar_of(("a/link", link_to(target, kind))), "'a/link' links out of the folder")


def test_writing_through_a_link_is_not_possible():
    Path("outside").mkdir()
    members = [("a/b/up", link_to("../..")), ("a/b/up/out", link_to("..")), ("a/b/up/out/outside/evil", b"x")]
    unpack(tar_of(*members), Path("into"))
    assert names_in("outside") == []
    assert not any(path.is_symlink() for path in Path("into").rglob("*"))


def test_a_hard_link_cannot_bring_a_left_out_link_back():
    unpack(tar_of(("a/b/up", link_to("../../x")), ("out", link_to("a/b/up", tarfile.LNKTYPE))), Path("into"))
    assert names_in("into") == []


def test_devices_are_refused():
    refused(tar_of(("null", device)), "'null' is neither a file nor a folder")


def test_links_in_a_zip_are_refused():
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zip_of((info, "/etc/passwd")), "'link' is neither a file nor a folder")


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_bomb_is_refused(pack):
    refused(pack(("zeros", bytes(20_000_000))), "'zeros' makes it unpack to more than")


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_too_many_members_are_refused(pack, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    refused(pack(*((f"{number}", b"") for number in range(4))), "'3' is one more than the 3 members allowed")


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_more_bytes_than_allowed_are_refused(pack, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    noise = np.random.default_rng(0).bytes(600)
    refused(pack(("a", noise), ("b", noise)), "'b' makes it unpack to more than 1,000 bytes")


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_truncated_archive_is_named(pack, share):
    noise = np.random.default_rng(0).bytes(100_000)
    archive = pack(("a", noise), ("b", noise))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    refused(archive, f"{archive.name}: cannot be unpacked: .* Remove it and run again")


def test_a_damaged_archive_is_named():
    archive = tar_of(("a", np.random.default_rng(0).bytes(100_000)))
    content = archive.read_bytes()
    archive.write_bytes(content[:50_000] + bytes(100) + content[50_100:])
    refused(archive, "cannot be unpacked")
