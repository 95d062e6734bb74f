"""Each layer of a backbone learns at the rate that timm gives it in the model with its classifier."""

import pytest

from tests.helpers.timm_families import on_meta, scales_of_cell, scales_of_timm, smallest_of_each_family


# All of them: docs/benchmarks/backbones.md.
@pytest.mark.parametrize("name", [*smallest_of_each_family()[::7], "efficientvim_m1"])
def test_scales_are_those_of_the_model_with_its_classifier(name):
    whole = on_meta(name)
    expected, found = scales_of_timm(whole), scales_of_cell(whole)
    tail = {key: value for key, value in found.items() if key.startswith("tail.")}
    assert tail == {key: expected[key] for key in tail}
    assert len(set(tail.values())) > 2
    assert {value for key, value in found.items() if key not in tail} == {1.0}


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        (
            "beit3_base_patch16_224",
            {"fc_norm": 1.0, "blocks.11.mlp.fc1": 0.65, "blocks.0.mlp.fc1": 0.005688, "patch_embed.proj": 0.003697},
        ),
        ("vit_tiny_patch16_224", {"norm": 0.65, "blocks.11.mlp.fc1": 0.65, "patch_embed.proj": 0.003697}),
        ("convnext_atto", {"head.norm": 1.0}),
    ],
)
def test_a_last_norm_of_its_own_learns_like_the_classifier(name, scales):
    found = scales_of_cell(on_meta(name))
    assert {key: found[f"tail.{key}.weight"] for key in scales} == pytest.approx(scales, rel=1e-3)
    assert found["classifier.weight"] == found["projection.0.weight"] == 1.0
