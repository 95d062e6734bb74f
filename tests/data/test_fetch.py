import errno
import hashlib
import logging
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from clce_bench.data import fetch
from clce_bench.data.dataset import File
from clce_bench.data.fetch import data_folder, obtain, obtain_unpacked, readable
from clce_bench.errors import UserError
from clce_bench.files import read_json
from tests.helpers.served import serve

CONTENT = bytes(range(256)) * 4000
CHECKSUM = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
FOLDER = Path("data/things")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", (2.0, 0.3))
    with serve() as running:
        running.files["things.bin"] = CONTENT
        yield running


def file_at(server, *bases, checksum=CHECKSUM):
    urls = tuple(f"{base}things.bin" for base in bases or (server.base,))
    return File("things.bin", urls, checksum, len(CONTENT))


def get(file):
    return obtain("things", [file], "https://example.org/things")


def test_a_file_is_downloaded_once_and_checked(server):
    assert get(file_at(server)) == FOLDER
    assert (FOLDER / "things.bin").read_bytes() == CONTENT
    get(file_at(server))
    assert len(server.requests) == 1
    assert [path.name for path in FOLDER.iterdir() if not path.name.startswith(".")] == ["things.bin"]


def test_the_data_folder_can_be_elsewhere(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CLCE_BENCH_DATA", str(tmp_path / "disk"))
    assert data_folder() == tmp_path / "disk"
    assert get(file_at(server)) == tmp_path / "disk" / "things"


def test_what_the_user_placed_is_taken_without_a_download(server):
    FOLDER.mkdir(parents=True)
    (FOLDER / "things.bin").write_bytes(CONTENT)
    get(file_at(server))
    assert server.requests == []


def test_the_next_mirror_serves_when_one_does_not(server):
    get(file_at(server, server.base + "nowhere/", server.base))
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_a_broken_transfer_goes_on_where_it_stopped(server, fault):
    server.faults["things.bin"] = [fault]
    get(file_at(server))
    assert (FOLDER / "things.bin").read_bytes() == CONTENT
    (_, first), (_, second) = server.requests
    assert first is None
    # What was read but not yet written when the connection stalled is fetched again.
    assert len(CONTENT) // 2 - 65_536 <= int(second.removeprefix("bytes=").removesuffix("-")) <= len(CONTENT) // 2


def test_a_server_without_ranges_sends_everything_again(server):
    server.faults["things.bin"] = ["truncate", "whole"]
    get(file_at(server))
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


def test_the_next_run_goes_on(server):
    server.faults["things.bin"] = ["truncate", "fail", "fail"]
    with pytest.raises(UserError, match=r"data/things/things.bin: the download failed. Run again to go on") as raised:
        get(file_at(server))
    assert "https://example.org/things" in str(raised.value)
    assert not (FOLDER / "things.bin").exists()
    server.requests.clear()
    get(file_at(server))
    assert server.requests == [("things.bin", f"bytes={len(CONTENT) // 2}-")]
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


def test_a_lying_server_is_found_out_and_nothing_stays(server):
    server.faults["things.bin"] = ["lie"]
    with pytest.raises(UserError, match="what it sent is not the file with md5:"):
        get(file_at(server))
    assert [path.name for path in FOLDER.iterdir() if not path.name.startswith(".")] == []
    get(file_at(server))
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


def test_a_wrong_file_is_named_and_never_overwritten(server):
    FOLDER.mkdir(parents=True)
    (FOLDER / "things.bin").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"data/things/things.bin: not the right file: md5:\w+ instead of md5:\w+"):
        get(file_at(server))
    assert (FOLDER / "things.bin").read_bytes() == b"something else"


def test_an_unknown_checksum_is_recorded_told_and_then_holds(server, caplog):
    with caplog.at_level(logging.WARNING):
        get(file_at(server, checksum=""))
    expected = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert read_json(FOLDER / "checksums.json") == {"things.bin": expected}
    assert expected in caplog.text
    get(file_at(server, checksum=""))
    (FOLDER / "things.bin").write_bytes(CONTENT + b"!")
    with pytest.raises(UserError, match=r"not the right file.*as data/things/checksums.json says"):
        get(file_at(server, checksum=""))


def test_halves_of_a_file_without_a_checksum_are_not_joined(server):
    server.faults["things.bin"] = ["truncate"]
    get(file_at(server, checksum=""))
    assert server.requests == [("things.bin", None)] * 2
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


def test_what_needs_an_account_is_listed_with_sizes_and_place():
    files = [File("train.tar", (), "md5:abc", 147_897_477_120), File("val.tar", (), "", 0)]
    with pytest.raises(UserError) as raised:
        obtain("imagenet", files, "https://image-net.org")
    message = str(raised.value)
    for part in (
        "data/imagenet",
        "train.tar (148 GB, md5:abc)",
        "val.tar (?)",
        "https://image-net.org",
        "put them there",
    ):
        assert part in message
    assert not Path("data").exists()


def test_a_download_larger_than_the_disk_does_not_start(server):
    with pytest.raises(UserError, match=r"9e\+03 TB are still to be downloaded"):
        get(replace(file_at(server), size=9 * 10**15))
    assert server.requests == []


def test_a_disk_that_fills_up_is_named_and_the_next_run_goes_on(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage(10**9, 0, 10**9))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "_append", full)
        with pytest.raises(UserError, match=r"data/things: the disk is full \(1 GB left\). Make room and run again"):
            get(file_at(server))
    get(file_at(server))
    assert (FOLDER / "things.bin").read_bytes() == CONTENT


def test_an_unpacked_folder_needs_no_archive(server):
    (FOLDER / "inside").mkdir(parents=True)
    archive = replace(file_at(server), unpacked="inside")
    assert obtain_unpacked("things", archive, "") == FOLDER / "inside"
    assert server.requests == []


@pytest.mark.parametrize(
    ("size", "text"), [(0, "?"), (512, "512 B"), (29_515, "29.5 kB"), (999_999, "1 MB"), (147_897_477_120, "148 GB")]
)
def test_sizes_are_readable(size, text):
    assert readable(size) == text
