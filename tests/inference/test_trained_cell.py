"""A trained cell as a classifier, against what training and evaluation recorded."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import clce_bench
from clce_bench.cli import command_status
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.files import read_json


@pytest.fixture
def results(finished):
    """Results of a real run, in a folder of its own."""
    shutil.copytree(finished / "results", "results")
    return {path.parent.name: path.parent for path in Path("results/cells").rglob("metrics.json")}


def cell_where(results, start):
    return next(path for name, path in sorted(results.items()) if name.startswith(start))


def part_under_test(directory):
    record = read_json(directory / "cell.json")
    inputs = record["job"]["inputs"]
    dataset = PreparedDataset(Path(inputs["dataset"]).parent)
    return dataset, rows_by_part(Path(inputs["splits"]), record["job"]["spec"]["split"]["fold"])["test"]


def test_every_cell_answers_as_its_evaluation_recorded(results):
    checked = 0
    for directory in results.values():
        metrics = read_json(directory / "metrics.json")["metrics"]
        record = read_json(directory / "cell.json")
        expected = metrics.get("top1", metrics.get("probe_top1"))
        if record["status"] != "done" or expected is None:
            continue
        dataset, test = part_under_test(directory)
        trained = clce_bench.load_cell(directory)
        truth = dataset.items["class"].to_numpy(dtype=str)[test]
        assert (np.array(trained.predict(dataset.pixels[test])) == truth).mean() == pytest.approx(expected, abs=1e-9)
        with np.load(directory / "embeddings.npz") as stored:
            features = stored["features"][np.isin(stored["rows"], test)]
        np.testing.assert_allclose(trained.embed(dataset.pixels[test]), features, atol=1e-5, rtol=0.01)
        checked += 1
    assert checked >= 2


def test_all_kinds_of_images_are_one(results, tmp_path):
    directory = cell_where(results, "ce")
    trained = clce_bench.load_cell(directory.name)
    dataset, test = part_under_test(directory)
    pixels = dataset.pixels[test[0]]
    Image.fromarray(pixels).save("one.png")
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    kinds = [pixels, Image.fromarray(pixels), "one.png", Path("one.png"), tensor, tensor / 255]
    for kind in kinds:
        np.testing.assert_allclose(trained.predict_proba(kind), trained.predict_proba(pixels), atol=1e-6)
    several = trained.predict_proba(kinds)
    assert several.shape == (6, len(trained.classes))
    np.testing.assert_allclose(several.sum(axis=1), 1, atol=1e-5)
    assert trained.predict("one.png") == [trained.classes[several[0].argmax()]]


def test_predict_names_the_damaged_image_and_answers_the_others(results, capsys):
    directory = cell_where(results, "ce")
    dataset, test = part_under_test(directory)
    Image.fromarray(dataset.pixels[test[0]]).save("one.png")
    Path("bad.png").write_text("no image")
    assert command_status(["predict", str(directory), "bad.png", "one.png", "--top", "3", "--json"]) == 2
    captured = capsys.readouterr()
    bad, good = json.loads(captured.out)
    assert "bad.png" in captured.err
    assert "bad.png" in bad["error"]
    chances = [guess["probability"] for guess in good["classes"]]
    assert len(chances) == 3
    assert chances == sorted(chances, reverse=True)
    assert command_status(["predict", directory.name, "one.png"]) == 0
    assert capsys.readouterr().out.startswith(f"one.png\t{good['classes'][0]['class']}\t")


def test_wrong_names_get_one_message(results):
    with pytest.raises(UserError, match="is not a trained cell"):
        clce_bench.load_cell("cee_bs64")
    with pytest.raises(UserError, match="several cells begin so"):
        clce_bench.load_cell("c")


def test_results_as_frames(results, finished):
    (name,) = (path.parent.name for path in Path("results/experiments").glob("*/summary.parquet"))
    found = clce_bench.load_results(name)
    pd.testing.assert_frame_equal(found.cells, pd.read_parquet(f"results/experiments/{name}/summary.parquet"))
    assert set(found.history["cell"]) <= set(found.cells["cell"])
    assert {"mean", "difference"} <= set(found.comparisons)
    with pytest.raises(UserError, match="is not an experiment with results here"):
        clce_bench.load_results("nothing")


def test_importing_the_package_imports_no_torch():
    code = "import clce_bench, sys; sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
