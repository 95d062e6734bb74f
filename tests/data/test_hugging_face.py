"""Sets of the Hugging Face hub: from local Parquet files and folders of images, and from a hub on loopback."""

import json
import os
import sys
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Features, Value
from datasets import Image as ImageFeature

from clce_bench.components.registry import load_dataset
from clce_bench.data.decode import decode
from clce_bench.data.prepare import prepare_dataset
from clce_bench.data.prepared import PreparedDataset
from clce_bench.errors import UserError
from tests.helpers.interpreters import python
from tests.helpers.originals import colour, jpeg

NAMES = ["cat", "dog"]
IMAGE_AND_LABEL = Features({"image": ImageFeature(), "label": ClassLabel(names=NAMES)})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The library's cache of this test, without a network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def parquet(tmp_path, features=IMAGE_AND_LABEL, **splits):
    """Writes a local set of Parquet files, a list of rows by split."""
    (tmp_path / "pets").mkdir(exist_ok=True)
    for split, rows in splits.items():
        columns = {key: [row[key] for row in rows] for key in features}
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(tmp_path / "pets" / f"{split}.parquet")
    return f"hf:{tmp_path}/pets"


def row(number, label=None, **more):
    label = number % 2 if label is None else label
    return {"image": {"bytes": jpeg(number, kind="PNG"), "path": None}, "label": label, **more}


def read(name):
    images = load_dataset(name).read(8)
    pixels = [tuple(int(value) for value in decode(path, 8).pixels[0, 0]) for path in images.pixels]
    return list(zip(images.parts or [None] * len(pixels), images.classes, pixels, strict=True))


def expected(part, *numbers):
    return [(part, NAMES[number % 2], colour(number)) for number in numbers]


def test_rows_of_parquet_files_keep_their_parts_classes_and_pixels(tmp_path):
    name = parquet(tmp_path, train=[row(n) for n in range(4)], validation=[row(4), row(5)], test=[row(6), row(7)])
    found = read(name)
    assert found == expected("train", 0, 1, 2, 3) + expected("validation", 4, 5) + expected("test", 6, 7)
    assert read(name) == found  # From what was written the first time.
    prepare_dataset({"dataset": name, "size": 8}, tmp_path / "out")
    prepared = PreparedDataset(tmp_path / "out")
    assert prepared.items["class"].tolist() == [label for _, label, _ in found]
    assert np.array_equal(prepared.pixels[:, 0, 0], [pixels for *_, pixels in found])


@pytest.mark.parametrize(
    ("splits", "parts"),
    [
        ({"train": 4}, {None: 4}),
        ({"train": 4, "dev": 2}, {"train": 4, "test": 2}),
        ({"train": 4, "test": 2}, {"train": 4, "test": 2}),
    ],
)
def test_parts_are_the_splits_by_their_usual_names(tmp_path, splits, parts):
    name = parquet(tmp_path, **{split: [row(n) for n in range(count)] for split, count in splits.items()})
    found = [part for part, *_ in read(name)]
    assert {part: found.count(part) for part in found} == parts


def test_a_split_whose_labels_are_hidden_is_no_part(tmp_path):
    hidden = [row(n, label=-1) for n in (6, 7)]
    found = read(parquet(tmp_path, train=[row(n) for n in range(4)], validation=[row(4), row(5)], test=hidden))
    assert found == expected("train", 0, 1, 2, 3) + expected("test", 4, 5)


def test_columns_are_found_by_type(tmp_path):
    features = Features(
        {
            "name": Value("string"),
            "coarse": ClassLabel(names=["a"]),
            "fine": ClassLabel(names=NAMES),
            "img": ImageFeature(),
        }
    )
    rows = [{"name": "x", "coarse": 0, "fine": n % 2, "img": row(n)["image"]} for n in range(4)]
    assert read(parquet(tmp_path, features, train=rows)) == expected(None, 0, 1, 2, 3)


def test_labels_may_be_words(tmp_path):
    features = Features({"image": ImageFeature(), "kind": Value("string")})
    rows = [{"image": row(n)["image"], "kind": NAMES[n % 2]} for n in range(4)]
    assert read(parquet(tmp_path, features, train=rows)) == expected(None, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (Features({"label": ClassLabel(names=NAMES)}), r"expected a column of images .*; found label \(ClassLabel\)"),
        (Features({"image": ImageFeature(), "a": Value("string"), "b": Value("string")}), r"found image \(Image\), a"),
    ],
)
def test_what_has_no_images_or_no_classes_is_named(tmp_path, features, told):
    values = {"label": 0, "a": "x", "b": "y", "image": row(0)["image"]}
    name = parquet(tmp_path, features, train=[{key: values[key] for key in features}] * 2)
    with pytest.raises(UserError, match=told):
        read(name)


def test_a_folder_of_images_is_what_the_library_makes_of_it(tmp_path):
    for split, numbers in (("train", range(6)), ("test", (6, 7))):
        for number in numbers:
            path = tmp_path / "pets" / split / NAMES[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(number, kind="PNG"))
    assert sorted(read(f"hf:{tmp_path}/pets")) == sorted(expected("train", *range(6)) + expected("test", 6, 7))


def test_code_of_a_data_set_is_not_run(tmp_path):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "pets.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError, match="pets: cannot be had: "):
        read(f"hf:{tmp_path}/pets")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["hf:", "hf:mnist", "hf:a/b/c", "hf:@main", "hf:a/@b"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UserError, match=r"Expected: hf:OWNER/NAME, hf:OWNER/NAME@REVISION, or hf:./FOLDER"):
        load_dataset(name).read(8)


COMMIT, OTHER = "a" * 40, "b" * 40


@contextmanager
def hub(files):
    """Serves one set, ``o/pets``, as the hub does; yields its address and what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = urllib.parse.urlsplit(self.path).path
            asked.append(path)
            about = {"id": "o/pets", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            tree = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in files.items()]
            api, file = "/api/datasets/o/pets", path.removeprefix(f"/datasets/o/pets/resolve/{COMMIT}/")
            content = {api: about, f"{api}/revision/{COMMIT}": about, f"{api}/tree/{COMMIT}": tree}.get(path)
            found = files.get(file) if content is None else json.dumps(content).encode()
            self.send_response(404 if found is None else 200)
            headers = (
                {"X-Error-Code": "EntryNotFound"} if found is None else {"X-Repo-Commit": COMMIT, "ETag": f'"{file}"'}
            )
            for key, value in {**headers, "Content-Length": str(len(found or b""))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(found or b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_address[1]}", asked
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


# The endpoint is read when the libraries are imported.
READING = """
import os, urllib.error, urllib.request
from clce_bench.components.registry import load_dataset
from clce_bench.errors import UserError
print(list(zip(*(lambda images: (images.parts, images.classes))(load_dataset("hf:o/pets").read(8)))))
try:
    urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/without-a-network")
except urllib.error.HTTPError:
    pass
import datasets, huggingface_hub
datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
for name in ("hf:o/pets", "hf:o/pets@COMMIT", "hf:o/pets@OTHER"):
    try:
        print(list(zip(*(lambda images: (images.parts, images.classes))(load_dataset(name).read(8)))))
    except UserError as error:
        print(error)
"""


def test_a_set_of_the_hub_is_read_at_one_commit_and_from_the_cache_without_a_network(tmp_path):
    parquet(tmp_path, train=[row(n) for n in range(4)], test=[row(4), row(5)])
    files = {path.name: path.read_bytes() for path in (tmp_path / "pets").iterdir()}
    code = READING.replace("COMMIT", COMMIT).replace("OTHER", OTHER)
    with hub(files) as (address, asked):
        places = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = python("-c", code, env=os.environ | places, cwd=tmp_path)
    expected = str([("train", "cat"), ("train", "dog")] * 2 + [("test", "cat"), ("test", "dog")])
    first, second, third, refused = done.stdout.splitlines()
    assert first == second == third == expected, done.stderr
    assert refused == f"hf:o/pets@{OTHER}: cannot be had at {OTHER}; the cache has {COMMIT}."
    assert asked[-1] == "/without-a-network"
    record = tmp_path / "data" / "hf:o--pets" / "revision.json"
    assert json.loads(record.read_text())["commit"] == COMMIT
