"""Weights as they are found: wrapped, beside arguments, not weights at all; models that timm cannot give."""

import argparse
import logging
import os

import pytest
import timm
import torch

from clce_bench.errors import UserError
from clce_bench.experiment.backbone_options import Backbone
from clce_bench.models.create import fit_to_size
from clce_bench.models.device import locked
from clce_bench.models.profiling import count
from clce_bench.models.weights import prepare_backbone, read_weights


def prepare(folder, file, name="resnet18"):
    prepare_backbone({"name": name, "weights": str(file)}, folder / "out")


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("module.", "model"),
        ("_orig_mod.", "state_dict"),
        ("module.encoder_q.", "state_dict"),
        ("encoder.module.", "model"),
        ("encoder.", "state_dict"),
    ],
)
def test_wrapped_weights_are_loaded_and_the_log_says_so(tmp_path, caplog, prefix, key):
    caplog.set_level(logging.INFO)
    state = timm.create_model("resnet18").state_dict()
    wrapped = {f"{prefix}{name}": value for name, value in state.items()}
    wrapped["module.queue" if "encoder_q" in prefix else f"{prefix}conv1.weight"] = state["conv1.weight"]
    torch.save({key: wrapped, "opt": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "wrapped.pth")
    prepare(tmp_path, tmp_path / "wrapped.pth")
    assert f"{prefix.split('.')[0]}.' taken off the names" in caplog.text
    assert ("not used: queue" in caplog.text) == ("encoder_q" in prefix)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_what_runs_code_is_still_refused(tmp_path):
    torch.save({"model": {}, "opt": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_weights(tmp_path / "harmful.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html><html></html>", "is a web page, not weights"),
        (b"\n  <html><body>Sign in</body></html>", "is a web page, not weights"),
        (b"", "cannot be read as weights"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_is_called_what_it_is(tmp_path, content, message, suffix):
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = timm.create_model("resnet18").state_dict()
    state["layer1.0.conv1.weight"][0] = value
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(UserError, match=r"these weights are not finite: layer1.0.conv1.weight\."):
        prepare(tmp_path, tmp_path / "broken.pth")
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "empty.pth")
    with pytest.raises(UserError, match="holds epoch, best, of which none is a state dictionary"):
        read_weights(tmp_path / "empty.pth")


@pytest.mark.parametrize(
    ("name", "size"),
    [("volo_d1_224", 64), ("crossvit_tiny_240", 64), ("xcit_nano_12_p16_224", 64), ("inception_v3", 64), ("vgg11", 16)],
)
def test_sizes_that_a_model_cannot_take_are_refused_by_its_name(name, size):
    with torch.device("meta"):
        model = timm.create_model(name)
        with pytest.raises(UserError, match=f"datasets: size: {size} is not allowed for {name}"):
            fit_to_size(model, name, size)
        fit_to_size(model, name, model.pretrained_cfg["input_size"][-1])


def test_names_that_timm_does_not_know_are_refused(tmp_path):
    for name, message in (
        ("resnet18.nope", "'resnet18.nope' is not a timm model.* Allowed: resnet18, resnet18.a1_in1k"),
        ("resnet18.a1_in1", "Did you mean 'resnet18.a1_in1k'"),
        ("resnet81", "Did you mean 'resnet"),
    ):
        with pytest.raises(UserError, match=message):
            prepare_backbone({"name": name, "weights": "random"}, tmp_path)
        with pytest.raises(UserError, match=message):
            count(Backbone(name=name, weights="random"), 64)
    with pytest.raises(UserError, match="backbone.weights: timm: there are none for vit_base_patch16_18x2_224"):
        prepare_backbone({"name": "vit_base_patch16_18x2_224", "weights": "timm"}, tmp_path)


def test_a_user_whom_no_list_names_can_hold_a_device(tmp_path, monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(f"uid not found: {uid}")))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with locked(["gpu"]) as places:
        assert places == [0]
