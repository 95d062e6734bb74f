"""A training run that was killed goes on from its checkpoint and ends with the same bits."""

import os
import random
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clce_bench.errors import Interrupted
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.models.weights import prepare_backbone
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.step import TrainStep
from clce_bench.training.train import train_cell
from tests.helpers.jobs import job_of
from tests.helpers.miniature import ROOT
from tests.helpers.processes import forkserver

ALWAYS = Runtime(checkpoint_seconds=0)


BACKBONE = {"name": "test_resnet", "weights": "random"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A small network with stochastic depth, which draws from the state that a checkpoint has to keep."""
    folder = tmp_path_factory.mktemp("backbone")
    prepare_backbone(BACKBONE, folder)
    return folder


def small_cell(loss="clce", **recipe):
    values = {"epochs": 2, "drop_path": 0.5, "learning_rate": 0.002, "reference_batch_size": 16, **recipe}
    experiment = {
        "name": "test",
        "backbone": BACKBONE,
        "datasets": {
            "tiny": {"size": 32, "augmentation": {"crop_scale": 0.8, "rotation": 10}, "split": {"images_per_class": 8}}
        },
        "grids": [{"name": "main", "dataset": "tiny", "loss": loss, "batch_size": 16, "seed": 0}],
        "recipe": values,
    }
    return union(cells_of(parse_experiment(experiment, "test.yaml")))[0]


@pytest.fixture(scope="module")
def job(tmp_path_factory, backbone):
    """A cell that trains everything, with stochastic depth and a moving average: 10 steps in 2 epochs."""
    return job_of(small_cell(ema=0.9, clip_gradient=1.0), tmp_path_factory.mktemp("prepared"), backbone)


@pytest.fixture(scope="module")
def uninterrupted(job, tmp_path_factory):
    output = tmp_path_factory.mktemp("uninterrupted")
    torch.set_num_threads(1)
    train_cell(job, output)
    return load_file(output / "model.safetensors"), np.load(output / "embeddings.npz")["features"]


def assert_same_bits(output, uninterrupted):
    weights, features = uninterrupted
    for name, value in load_file(output / "model.safetensors").items():
        assert torch.equal(value, weights[name]), name
    assert np.array_equal(np.load(output / "embeddings.npz")["features"], features)
    assert not (output / "checkpoints").exists()


def train_until(job, output, step, writing):
    """Trains in this process, which is killed before a step, or while the checkpoint after it is written."""
    torch.set_num_threads(1)
    take, save = TrainStep.__call__, torch.save

    def dying_step(self, number, batch):
        if number == step and not writing:
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, number, batch)

    def dying_save(state, path):
        save(state, path)
        if state["training"]["step"] == step and writing:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    TrainStep.__call__, torch.save = dying_step, dying_save
    train_cell(job, output, ALWAYS)


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(job, uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    context = forkserver()
    chance = random.Random(0)
    kills = sorted(chance.sample(range(1, 10), 4))
    for step in kills:
        process = context.Process(target=train_until, args=(job, tmp_path, step, chance.random() < 0.5))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "cell.json").exists()
    torch.set_num_threads(1)
    train_cell(job, tmp_path, ALWAYS)
    assert_same_bits(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_and_stops(job, uninterrupted, tmp_path, monkeypatch, number):
    take = TrainStep.__call__

    def signalled(self, step, batch):
        if step == 4:
            os.kill(os.getpid(), number)
        return take(self, step, batch)

    torch.set_num_threads(1)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", signalled)
        with pytest.raises(Interrupted, match="stopped after step 5; the same command goes on"):
            train_cell(job, tmp_path)
    assert signal.getsignal(number) == before
    train_cell(job, tmp_path)
    assert_same_bits(tmp_path, uninterrupted)


def test_a_momentum_encoder_and_a_queue_go_on_too(tmp_path, backbone, monkeypatch):
    cell = small_cell({"name": "moco", "queue_size": 48, "momentum": 0.9}, epochs=1)
    job, take = job_of(cell, tmp_path / "prepared", backbone), TrainStep.__call__
    torch.set_num_threads(1)
    train_cell(job, tmp_path / "whole")

    def signalled(self, step, batch):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", signalled)
        with pytest.raises(Interrupted, match="stopped after step 2"):
            train_cell(job, tmp_path / "two")
    train_cell(job, tmp_path / "two")
    whole = tmp_path / "whole"
    assert_same_bits(
        tmp_path / "two", (load_file(whole / "model.safetensors"), np.load(whole / "embeddings.npz")["features"])
    )


def test_a_checkpoint_of_another_job_is_not_used(job, uninterrupted, tmp_path, monkeypatch, caplog):
    other = {**job, "code": "other"}
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda self: None)
        train_cell(other, tmp_path, ALWAYS)
    (tmp_path / "cell.json").unlink()
    torch.set_num_threads(1)
    train_cell(job, tmp_path)
    assert "is of another job, code or data; not used" in caplog.text
    assert_same_bits(tmp_path, uninterrupted)


def checkpoints(folder, identity="job"):
    return Checkpoints(folder, identity, seconds=0)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    saved = checkpoints(tmp_path)
    for step in (1, 2, 3):
        saved.save(step, {"step": step})
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ["step-000000002.pt", "step-000000003.pt"]
    paths[-1].write_bytes(paths[-1].read_bytes()[:100])
    assert checkpoints(tmp_path).load() == {"step": 2}
    assert "cannot be read" in caplog.text
    assert checkpoints(tmp_path, "another").load() is None


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch, caplog):
    saved = checkpoints(tmp_path)
    saved.save(1, {"step": 1})

    def full(_state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    saved.save(2, {"step": 2})
    assert "No space left on device" in caplog.text
    assert "the one before is kept" in caplog.text
    assert saved.load() == {"step": 1}
    saved.remove()
    assert not tmp_path.exists()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    torch.save({"identity": "job", "harmful": Harmful()}, tmp_path / "step-000000001.pt")
    assert checkpoints(tmp_path).load() is None
    assert not (tmp_path / "harm").exists()
