"""Accuracy under common corruptions against the library in a loop, and the whole network on what it makes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from imagecorruptions import corrupt, corruptions, get_corruption_names
from safetensors.torch import save_file

from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.evaluation.known_classes import stored_images
from clce_bench.experiment import grid_checks
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.files import read_json, write_json
from clce_bench.inference.trained_cell import TrainedCell
from clce_bench.measures import corrupted_images
from clce_bench.measures.corrupted_images import chosen_rows, corrupt_images, corrupted
from clce_bench.measures.corruptions import measure_corruptions
from clce_bench.measures.measure import Embedded
from clce_bench.models.backbone import load_backbone, split_backbone
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.planning.plan import plan_of
from tests.helpers.jobs import prepare

NAMES = get_corruption_names()


@pytest.fixture(autouse=True)
def not_compiled(monkeypatch):
    """Compiling this one loop takes longer than all tests here."""
    loop = "_shuffle_pixels_njit_glass_blur"
    monkeypatch.setattr(corruptions, loop, getattr(corruptions, loop).py_func)


def experiment(freeze="blocks", size=32, dataset="tiny", **axes):
    grid = {"name": "main", "dataset": dataset, "loss": "clce", "batch_size": 16, "measures": "corruptions", **axes}
    keys = {"backbone": {"freeze": freeze, "cached_views": 2}, "datasets": {dataset: {"size": size}}}
    return parse_experiment({"name": "test", "grids": [grid], **keys}, "test.yaml")


def untrained(cell, inputs, folder):
    """A cell as it is before its first step, with a probe that nobody has fitted."""
    folder.mkdir(parents=True)
    description = read_json(Path(inputs["backbone"]))
    _, tail = split_backbone(load_backbone(Path(inputs["backbone"]).parent, cell.size), cell.backbone.freeze)
    wide = description["features"]
    head = ContrastiveClassifier(tail, wide, 10, cell.contrastive_weight, cell.recipe, cell.seed)
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / "model.safetensors")
    write_json(folder / "cell.json", {"status": "done", "reason": None, "job": {"spec": cell.spec, "inputs": inputs}})
    rng = np.random.default_rng(0)
    probe = {"probe_weights": rng.normal(size=(wide, 10)).astype("float32"), "probe_biases": np.zeros(10, "float32")}
    np.savez(folder / "metrics.npz", probe_labels=np.arange(10), **probe)


@pytest.mark.parametrize(("freeze", "weight"), [("blocks", 0.9), ("none", 1.0)])
def test_answers_are_those_of_the_whole_network_on_what_the_library_makes(
    freeze, weight, tmp_path, backbone, monkeypatch
):
    monkeypatch.setattr(corrupted_images, "IMAGES", 24)
    (cell,) = union(cells_of(experiment(freeze, **{"lambda": weight})))
    inputs = prepare(cell, tmp_path, backbone)
    paths = {name: Path(path) for name, path in inputs.items() if freeze != "none" or name != "backbone"}
    corrupt_images({"freeze": freeze}, paths, tmp_path / "corruptions", "cpu")
    directory = tmp_path / "results/cells/tiny/backbone/cell"
    untrained(cell, inputs, directory)
    dataset = PreparedDataset(paths["dataset"].parent)
    rows = np.arange(1, len(dataset.items))
    images = stored_images(rows, dataset.items, rows_by_part(paths["splits"], 0))
    given = {"corruptions": tmp_path / "corruptions/corruptions.json"}
    found = measure_corruptions(Embedded(directory, given, images, rows, np.zeros((len(rows), 1), "float32"), None))

    trained = TrainedCell(directory)
    test = np.load(tmp_path / "corruptions/rows.npy")
    made = [corrupted(dataset.pixels[row], int(row), NAMES) for row in test]
    truth = dataset.items["class"].to_numpy(dtype=str)[test]
    right = np.array(
        [[answer == name for answer in trained.predict(one)] for one, name in zip(made, truth, strict=True)]
    )
    assert len(test) == 24
    assert 0 < right.mean() < 1
    np.testing.assert_allclose(found.arrays["outcome.corruption_top1"], right.mean(axis=1), rtol=1e-6)
    families = {"noise": slice(0, 3), "blur": slice(3, 7), "weather": slice(7, 11), "digital": slice(11, 15)}
    assert found.metrics == pytest.approx(
        {
            "corruption_top1": right.mean(),
            **{f"corruption_{name}_top1": right[:, places].mean() for name, places in families.items()},
        }
    )


def test_strengths_and_randomness_are_those_of_the_library():
    """Noise is drawn anew for each image, and is the same whenever that image is corrupted again."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    strengths = np.empty((10, len(NAMES)), dtype=int)
    for row in range(len(strengths)):
        made = corrupted(pixels, row, NAMES)
        np.testing.assert_array_equal(made, corrupted(pixels, row, NAMES))
        for place in map(NAMES.index, ("contrast", "pixelate", "brightness", "defocus_blur")):
            same = [np.array_equal(made[place], corrupt(pixels, one, NAMES[place])) for one in range(1, 6)]
            strengths[row, place] = 1 + same.index(True)
        strengths[row] = 1 + (strengths[row, 3] - 1 + np.arange(len(NAMES)) - 3) % 5
        assert made[NAMES.index("contrast")].std() < pixels.std()
        quality = (25, 18, 15, 10, 7)[strengths[row, NAMES.index("jpeg_compression")] - 1]
        _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        expected = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
        assert np.abs(made[NAMES.index("jpeg_compression")] - expected).mean() < 1
    assert (np.sort(strengths, axis=1) == np.repeat(np.arange(1, 6), 3)).all()
    assert len(np.unique(strengths[:, 0])) > 2
    one, other = (
        corrupted(pixels, int(row), NAMES[:1]) for row in np.flatnonzero(strengths[:, 0] == strengths[0, 0])[:2]
    )
    assert not np.array_equal(one, other)


def test_a_random_part_of_each_test_part_is_corrupted(monkeypatch):
    monkeypatch.setattr(corrupted_images, "IMAGES", 20)
    parts = np.concatenate([np.full(30, -1), np.zeros(15, dtype=int), np.ones(50, dtype=int)])
    chosen = chosen_rows(parts)
    assert np.bincount(parts[chosen]).tolist() == [15, 20]
    assert (np.diff(chosen) > 0).all()


@pytest.mark.parametrize(("freeze", "shared"), [("blocks", 2), ("none", 1)])
def test_all_losses_and_seeds_share_the_images(freeze, shared):
    """Backbones share them too where nothing is frozen; cells without a classifier wait for their probe."""
    backbones = ["tf_efficientnet_lite0", {"name": "tf_efficientnet_lite0", "weights": "random"}]
    axes = {"loss": ["ce", "clce", "none"], "lambda": [0.9, 1], "seed": [0, 1], "backbone": backbones}
    plan = plan_of(experiment(freeze, **axes))
    assert len(plan.jobs["corruptions"]) == shared
    measured = plan.jobs["measure"].values()
    assert len(measured) == len(plan.cells)
    for cell in plan.cells:
        (job,) = (plan.job(node) for node in plan.nodes_of(cell) if node.verb == "measure")
        assert ("metrics" in job.inputs) == (cell.loss.name == "none" or cell.contrastive_weight == 1)


def test_what_cannot_be_corrupted_is_refused(monkeypatch):
    with pytest.raises(
        UserError, match=r"datasets.tiny.size: 31 is not allowed. Allowed with corruptions: at least 32"
    ):
        plan_of(experiment(size=31))
    with pytest.raises(
        UserError,
        match="corruptions is not allowed on tiny-fs: .* Allowed on few-shot sets: neighbours",
    ):
        plan_of(experiment(dataset="tiny-fs"))
    monkeypatch.setattr(grid_checks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a library is missing: .venv/bin/pip install -e '.\[corruptions\]'"):
        plan_of(experiment())
