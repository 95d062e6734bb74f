"""Losses that learn without classes, and the axes of TCL's figures: from the file to tables and figures."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.summary import write_summary
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from clce_bench.figures.render import render
from clce_bench.losses import FusedLoss, create_loss
from clce_bench.planning.plan import plan_of
from tests.helpers.made_up import leave_out_pictures, make_up

SELF_SUPERVISED = [
    {"name": "ntxent", "recipe": {"views": 2}},
    {"name": "tcl", "labels": "images", "recipe": {"views": 3}},
]
GRIDS = [
    {"name": "main", "dataset": "digits", "loss": ["ce", "tcl", *SELF_SUPERVISED], "lambda": 1.0, "seed": [0, 1]},
    {
        "name": "encoder",
        "dataset": "digits",
        "loss": ["supcon", "tcl"],
        "lambda": 1.0,
        "seed": [0, 1],
        "backbone": ["resnet101", "resnet18", "resnet50"],
    },
    {
        "name": "augmentation",
        "dataset": "digits",
        "loss": ["supcon", "tcl"],
        "lambda": 1.0,
        "seed": [0, 1],
        "recipe": {"augmentation": ["simclr", "autoaugment", "randaugment", {"flip": 0.5}]},
    },
]


def parse(loss, **keys):
    grid = {"name": "main", "dataset": "digits", "loss": loss, "lambda": 1.0}
    return parse_experiment({"name": "test", "grids": [grid], **keys}, "test.yaml")


def cells(loss, **keys):
    return union(cells_of(parse(loss, **keys)))


def test_a_loss_without_classes_is_a_cell_of_its_own_and_the_others_stay_what_they_were():
    (plain,), (named,) = cells("tcl"), cells({"name": "tcl", "labels": "classes"})
    assert plain == named
    assert "labels" not in plain.spec["loss"]
    (images,) = cells({"name": "tcl", "labels": "images"})
    assert images.spec["loss"] == {**plain.spec["loss"], "labels": "images"}
    assert (images.axes["loss"], plain.axes["loss"]) == ("tcl-images", "tcl")
    assert images.name.startswith("tcl.images_bs64_lam1_s0-")
    assert len(cells({"name": "tcl", "labels": ["classes", "images"]})) == 2
    assert cells("tcl", losses={"tcl": {"labels": "images"}}) == [images]


def test_losses_made_for_images_have_nothing_to_choose():
    assert cells({"name": "ntxent", "labels": "images"}) == cells("ntxent")
    assert cells("ntxent")[0].self_supervised
    assert not cells("tcl")[0].self_supervised
    for loss, message in (
        ({"name": "hcl", "labels": "classes"}, "labels: 'classes' is not allowed for hcl. Allowed: 'images'"),
        ({"name": "ce", "labels": "images"}, "labels: 'images' is not allowed for ce. Allowed: 'classes'"),
        ({"name": "tcl", "labels": "pictures"}, "labels: 'pictures' is not allowed"),
        ({"name": "tcl", "label": "images"}, "'label' is not a key of 'tcl'. Did you mean 'labels'"),
    ):
        with pytest.raises(UserError) as caught:
            parse(loss)
        assert message in str(caught.value)


@pytest.mark.parametrize("loss", ["ntxent", {"name": "tcl", "labels": "images"}])
def test_one_view_has_no_positive_and_is_refused_before_anything_runs(loss):
    with pytest.raises(UserError, match=r"recipe.views: 1 is not allowed: the positives of .* are other views"):
        plan_of(parse(loss, recipe={"views": 1}))


def test_a_fused_loss_without_classes_sees_classes_in_cross_entropy_only():
    generator = torch.Generator().manual_seed(0)
    embeddings, logits = torch.randn(12, 8, generator=generator), torch.randn(12, 3, generator=generator)
    images = torch.arange(12) % 4
    tcl, labels, others = create_loss("tcl"), torch.arange(12) % 3, (torch.arange(12) + 1) % 3
    alone = FusedLoss(tcl, 1.0, self_supervised=True)
    assert alone(None, embeddings, labels, images) == alone(None, embeddings, others, images) == tcl(embeddings, images)
    fused = FusedLoss(tcl, 0.5, self_supervised=True)
    expected = (torch.nn.functional.cross_entropy(logits, labels) + tcl(embeddings, images)) / 2
    torch.testing.assert_close(fused(logits, embeddings, labels, images), expected)
    with_classes = FusedLoss(tcl, 1.0)
    assert with_classes(None, embeddings, labels, images) == tcl(embeddings, labels)


@pytest.fixture(scope="module")
def summarized(tmp_path_factory):
    figures = [
        {"kind": "differences", "grid": "main"},
        {"kind": "axis_curve", "grid": "encoder"},
        {"kind": "axis_curve", "grid": "augmentation"},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tcl"))
        leave_out_pictures(patch)
        experiment, plan = make_up(
            grids=GRIDS,
            figures=figures,
            backbone={"name": "resnet18", "weights": "random"},
            claims=[
                "tcl-at-least-supcon",
                "tcl-self-supervised",
                {"id": "tcl-encoder-steadier", "grids": "encoder"},
                {"id": "tcl-augmentation-steadier", "grids": "augmentation"},
            ],
        )
        write_summary(experiment, plan.folder)
        drawn = {}
        for name, job in plan.jobs["figures"].items():
            render({"spec": job.spec, "inputs": job.inputs}, Path("figures", f"{name}.svg"))
            drawn[name] = pd.read_csv(Path("figures", f"{name}.csv"))
        return pd.read_parquet(plan.folder / "summary.parquet"), drawn, plan.folder.absolute()


def test_tables_and_figures_tell_both_forms_of_a_loss_apart(summarized):
    summary, drawn, folder = summarized
    table = compare(summary[summary["grids"].str.contains("main")], "metric.probe_top1")
    assert table["loss"].tolist() == ["ce", "tcl", "tcl-images", "ntxent"]
    assert (table["n"] == 2).all()
    assert not [name for name in table if name.startswith("loss.")]
    assert set(drawn["differences-main"]["loss"]) == {"tcl", "tcl-images", "ntxent"}
    written = "".join(path.read_text() for path in (folder / "tables").glob("main*.md"))
    assert "| TCL, self-supervised |" in written
    assert "| TCL |" in written


def test_networks_and_augmentations_are_axes_of_figures(summarized):
    _, drawn, _ = summarized
    encoders = drawn["axis_curve-encoder"].sort_values("backbone")
    assert set(encoders["backbone"]) == {"resnet18", "resnet50", "resnet101"}
    # Without cross-entropy in the grid, differences are to SupCon.
    means = encoders.pivot(index="backbone", columns="loss", values="mean")
    gains = encoders.pivot(index="backbone", columns="loss", values="difference")
    assert gains["supcon"].isna().all()
    assert gains["tcl"].tolist() == pytest.approx((means["tcl"] - means["supcon"]).tolist())
    augmentations = drawn["axis_curve-augmentation"]
    assert set(augmentations["recipe.augmentation"]) == {"autoaugment", "flip 0.5", "randaugment", "simclr"}
    assert augmentations["mean"].notna().all()


def test_claims_on_labelled_cells_leave_the_others_alone(summarized):
    _, _, folder = summarized
    verdicts = pd.read_json(folder / "verdicts.json").set_index("claim")
    assert "not tested" not in set(verdicts["verdict"])
    cells = verdicts.loc["tcl-self-supervised", "cells"]
    assert {name.split("_")[0] for name in cells} == {"tcl.images", "ntxent"}
    assert not [name for name in verdicts.loc["tcl-at-least-supcon", "cells"] if "images" in name]


def test_what_a_loss_asks_for_is_checked_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "asking_loss.py").write_text(
        "from torch import nn\n"
        "class Sized(nn.Module):\n"
        "    def __init__(self, embedding_size): pass\n"
        "    def forward(self, embeddings, labels): pass\n"
        "class Following(nn.Module):\n"
        "    def forward(self, embeddings, labels, momentum_embeddings): pass\n"
    )
    (given,) = cells({"name": "moco", "queue_size": 64})
    assert given.spec["loss"] == {"name": "moco", "queue_size": 64, "temperature": 0.2, "momentum": 0.999}
    assert given.momentum_encoder
    assert not cells("ntxent")[0].momentum_encoder
    for loss, message in (
        (
            {"name": "asking_loss:Sized", "embedding_size": 64},
            "embedding_size: 64 is not allowed. Allowed: 128, recipe",
        ),
        ("asking_loss:Following", "needs a method momentum_at"),
        ({"name": "moco", "queue_size": 0.5}, "queue_size: 0.5 is not allowed. Allowed: a whole number of at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            plan_of(parse(loss))
    assert cells("asking_loss:Sized")[0].loss.hyperparameters == {}
    grid = {"name": "main", "dataset": "digits", "loss": "byol", "lambda": 1.0, "hazards": "per-process-negatives"}
    with pytest.raises(UserError, match="per-process-negatives is not allowed for byol"):
        plan_of(parse_experiment({"name": "test", "grids": [grid]}, "test.yaml"))
