"""Wrong labels: how many, whose, and that nothing else changes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clce_bench.data.label_noise import spoil_labels, wrong_labels
from clce_bench.data.prepared import PreparedDataset, rows_by_part
from clce_bench.errors import UserError
from clce_bench.experiment.loading import parse_experiment
from clce_bench.planning.plan import plan_of
from tests.helpers.made_up import prepare

NOISY = {
    "name": "noisy",
    "grids": [{"name": "g", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1], "label_noise": [0, 0.2, 0.4]}],
}
PLAIN = {"name": "plain", "grids": [{"name": "g", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]}]}


def spoiled(share, seed=0):
    labels = np.repeat(np.arange(6), 50)
    train = np.flatnonzero(np.arange(len(labels)) % 3)
    return labels, train, wrong_labels(labels, train, share, np.random.default_rng(seed))


def test_a_share_of_each_class_is_wrong_and_only_in_training():
    labels, train, noisy = spoiled(0.4)
    wrong = np.flatnonzero(labels != noisy)
    assert set(wrong) <= set(train)
    for label in range(6):
        own = train[labels[train] == label]
        assert (noisy[own] != label).sum() == round(0.4 * len(own))


def test_more_noise_keeps_what_is_wrong_already():
    labels, _, few = spoiled(0.2)
    _, _, many = spoiled(0.4)
    wrong = few != labels
    np.testing.assert_array_equal(few[wrong], many[wrong])
    assert (spoiled(0.2, seed=1)[2] != few).any()


def test_wrong_labels_are_uniform_over_the_other_classes():
    labels = np.repeat(np.arange(5), 4000)
    noisy = wrong_labels(labels, np.arange(len(labels)), 0.5, np.random.default_rng(0))
    counts = np.bincount(noisy[labels != noisy] + 5 * labels[labels != noisy], minlength=25).reshape(5, 5)
    np.testing.assert_allclose(counts[~np.eye(5, dtype=bool)], 500, rtol=0.15)


def test_cells_without_noise_are_the_same_jobs():
    noisy, plain = (plan_of(parse_experiment(values, "e.yaml")) for values in (NOISY, PLAIN))
    for verb in ("train", "evaluate", "splits", "features", "dataset"):
        jobs = {key: job.param for key, job in noisy.jobs[verb].items() if "noise" not in key}
        assert jobs == {key: job.param for key, job in plain.jobs[verb].items()}
    assert not plain.jobs["labels"]


def test_all_losses_at_a_seed_read_the_same_labels():
    plan = plan_of(parse_experiment(NOISY, "e.yaml"))
    read = {}
    for cell in plan.cells:
        train, evaluate, *_ = (plan.job(node) for node in plan.nodes_of(cell))
        assert train.inputs["dataset"] == evaluate.inputs["dataset"]
        assert train.spec.get("label_noise", 0) == cell.label_noise
        read.setdefault((cell.seed, cell.label_noise), set()).add(train.inputs["dataset"])
    assert all(len(files) == 1 for files in read.values())
    noisy = [files.pop() for (_, noise), files in read.items() if noise]
    assert len(set(noisy)) == len(noisy) == len(plan.jobs["labels"]) == 4
    assert {Path(path).parts[1] for path in noisy} == {"labels"}


def test_the_stage_changes_labels_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(parse_experiment(NOISY, "e.yaml"))
    prepare(plan_of(parse_experiment(PLAIN, "p.yaml")))
    job = next(job for job in plan.jobs["labels"].values() if job.spec["label_noise"] == 0.4)
    paths = {name: Path(path) for name, path in job.inputs.items()}
    spoil_labels(job.spec, paths, Path(job.output).parent)
    clean, noisy = PreparedDataset(paths["dataset"].parent), PreparedDataset(Path(job.output).parent)
    np.testing.assert_array_equal(clean.pixels, noisy.pixels)
    parts = rows_by_part(paths["splits"], 0)
    wrong = (clean.items["label"] != noisy.items["label"]).to_numpy()
    assert wrong[parts["train"]].mean() == pytest.approx(0.4, abs=0.01)
    assert not wrong[parts["test"]].any()
    assert not wrong[parts["validation"]].any()
    assert (noisy.items["class"] == np.array(clean.classes)[noisy.items["label"]]).all()
    pd.testing.assert_series_equal(noisy.items["true_label"], clean.items["label"], check_names=False)
    assert noisy.description["wrong_labels"] == wrong.sum()
    assert noisy.description["content"] == clean.description["content"]


def test_test_images_must_not_train_with_wrong_labels():
    grid = {**NOISY["grids"][0], "hazards": "leaky-split"}
    with pytest.raises(UserError, match="label_noise.*leaky-split"):
        plan_of(parse_experiment({**NOISY, "grids": [grid]}, "e.yaml"))
