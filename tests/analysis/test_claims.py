"""Verdicts on made-up cells of which the truth is known, and the theorems against autograd."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy import stats

from clce_bench.analysis import gradient_theorems
from clce_bench.analysis.gradient_theorems import tcl_gradients
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.summary_rows import as_rows
from clce_bench.analysis.verdicts import read_verdicts, write_verdicts
from clce_bench.components.registry import CLAIMS, load
from clce_bench.errors import UserError
from clce_bench.experiment.claims import packaged_claims, parse_claim
from clce_bench.experiment.loading import parse_experiment
from clce_bench.experiment.schema import Experiment
from clce_bench.losses import create_loss
from tests.helpers.outcomes import few_shot_cells, make_cells, setting

ABOVE = {
    "id": "above",
    "statement": "CLCE is above CE.",
    "paper": "P",
    "place": "abstract",
    "first": {"loss": "clce"},
    "second": {"loss": "ce"},
    "metric": "top1",
}
CE, CLCE, SUPCON = setting(loss="ce"), setting(loss="clce"), setting(loss="supcon")


def verdict(summary, alpha=0.05, **changes):
    given = {**ABOVE, **changes}
    keys = load(CLAIMS[given.get("kind", "difference")]).model_fields
    return parse_claim({key: value for key, value in given.items() if key in keys}).judge(summary, alpha)


@pytest.mark.parametrize(("gain", "expected"), [(0.10, "reproduced"), (-0.10, "contradicted"), (0.0, "undecided")])
def test_a_difference_gets_the_verdict_that_it_deserves(tmp_path, gain, expected):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.7 + gain})
    found = verdict(summary)
    assert found.verdict == expected
    assert found.effect == pytest.approx(100 * gain, abs=2.5)
    assert found.low < found.effect < found.high
    assert (found.seeds, len(found.cells)) == (3, 6)


def test_every_data_set_must_agree(tmp_path):
    good = make_cells(tmp_path / "a", {CE: 0.7, CLCE: 0.8})
    unclear = make_cells(tmp_path / "b", {CE: 0.7, CLCE: 0.7}, dataset="openmoji")
    found = verdict(good.merge(unclear, how="outer"))
    assert (found.verdict, len(found.findings)) == ("undecided", 2)
    assert "1 reproduced, 1 undecided" in found.reason
    assert "openmoji" in min(found.findings, key=lambda finding: finding.effect).setting
    bad = make_cells(tmp_path / "c", {CE: 0.7, CLCE: 0.6}, dataset="openmoji")
    assert verdict(good.merge(bad, how="outer")).verdict == "contradicted"


def test_a_tolerance_lets_on_par_count(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.70}, noise=0.01)
    assert verdict(summary).verdict == "equivalent"
    assert verdict(summary, margin=0.1).verdict == "undecided"
    assert verdict(summary, tolerance=1.0).verdict == "reproduced"
    worse = make_cells(tmp_path / "worse", {CE: 0.7, CLCE: 0.67}, noise=0.01)
    assert verdict(worse, tolerance=1.0).verdict == "contradicted"
    assert verdict(worse, tolerance=4.0).verdict == "reproduced"


def test_what_contradicts_alone_may_be_chance_among_eight_comparisons(tmp_path):
    effects = {setting(loss=loss, batch_size=2**k): 0.7 for loss in ("ce", "clce") for k in range(8)}
    effects[setting(loss="clce", batch_size=1)] -= 0.06
    summary = make_cells(tmp_path, effects)
    alone, among_others = verdict(summary, where={"batch_size": 1}), verdict(summary)
    assert (alone.verdict, len(alone.findings)) == ("contradicted", 1)
    assert 0.01 < alone.findings[0].p < 0.05
    assert (among_others.verdict, len(among_others.findings)) == ("undecided", 8)


def test_one_seed_or_no_cells_decide_nothing(tmp_path):
    single = verdict(make_cells(tmp_path, {CE: 0.5, CLCE: 0.9}, seeds=1))
    assert (single.verdict, single.low, single.seeds) == ("undecided", None, 1)
    assert "no interval can be known from 1 seed." in single.reason
    nothing = verdict(make_cells(tmp_path / "ce", {CE: 0.5}))
    assert (nothing.verdict, nothing.effect, nothing.cells) == ("not tested", None, ())
    assert "loss clce" in nothing.reason
    unfinished = make_cells(tmp_path / "unfinished", {CE: 0.5, CLCE: 0.6})
    assert verdict(unfinished.assign(**{"metric.top1": np.nan})).verdict == "not tested"
    assert verdict(unfinished, grids=["other"]).verdict == "not tested"
    assert verdict(unfinished, where={"backbone": "vit"}).verdict == "not tested"


def test_two_contrastive_losses_are_compared_at_equal_weight(tmp_path):
    cells = {setting(loss=loss, **{"lambda": weight}): 0.6 for loss in ("clce", "supcon") for weight in (0.5, 0.9)}
    found = verdict(make_cells(tmp_path, cells), second={"loss": "supcon"})
    assert len(found.findings) == 2
    assert all(finding.setting.count("λ = 0.5") != 1 for finding in found.findings)


def test_steadier_compares_changes_from_end_to_end(tmp_path):
    def sizes(loss, accuracies):
        return {setting(loss=loss, batch_size=size): value for size, value in accuracies.items()}

    cells = sizes("clce", {16: 0.70, 64: 0.9, 256: 0.71}) | sizes("supcon", {16: 0.6, 64: 0.6, 256: 0.75, 512: 0.1})
    claim = {"kind": "steadier", "second": {"loss": "supcon"}, "over": "batch_size"}
    found = verdict(make_cells(tmp_path, cells), **claim)
    assert found.verdict == "reproduced"
    assert found.effect == pytest.approx(14, abs=2.5)  # 15 points against 1; 512 has no partner.
    swapped = verdict(
        make_cells(tmp_path / "b", cells), **{**claim, "first": {"loss": "supcon"}, "second": {"loss": "clce"}}
    )
    assert swapped.verdict == "contradicted"
    alone = verdict(make_cells(tmp_path / "c", {CLCE: 0.6, SUPCON: 0.6}), **claim)
    assert (alone.verdict, "along batch_size" in alone.reason) == ("not tested", True)


def test_steadier_along_names_lets_validation_choose_the_ends_of_either_side(tmp_path):
    def encoders(loss, accuracies):
        return {setting(loss=loss, backbone=name): value for name, value in accuracies.items()}

    cells = encoders("clce", {"a": 0.70, "b": 0.74, "c": 0.71}) | encoders("supcon", {"a": 0.8, "b": 0.6, "c": 0.7})
    rows = make_cells(tmp_path, cells, noise=0.01)
    claim = {"kind": "steadier", "second": {"loss": "supcon"}, "over": "backbone"}
    found = verdict(rows, **claim)
    assert found.findings[0].setting.endswith(
        "change along backbone, CLCE from a to b, SupCon from b to a, test top-1 (%)"
    )
    assert found.effect == pytest.approx(20 - 4, abs=1)
    # The test part does not choose: validation takes c for the best of CLCE.
    rows.loc[(rows["loss"] == "clce") & (rows["backbone"] == "c"), "validation"] = 0.9
    misled = verdict(rows, **claim)
    assert "CLCE from a to c, SupCon from b to a" in misled.findings[0].setting
    assert misled.effect == pytest.approx(20 - 1, abs=1)


def test_interior_needs_to_beat_both_ends(tmp_path):
    def curve(accuracies):
        return {
            setting(loss="clce" if weight else "ce", **{"lambda": weight}): value
            for weight, value in accuracies.items()
        }

    claim = {"kind": "interior", "first": {"loss": ["ce", "clce"]}, "second": {}, "over": "lambda"}
    hill = make_cells(tmp_path / "hill", curve({0.0: 0.6, 0.5: 0.7, 0.9: 0.8, 1.0: 0.65}))
    found = verdict(hill, **claim)
    assert (found.verdict, len(found.findings)) == ("reproduced", 2)
    assert all("lambda 0.9" in finding.setting for finding in found.findings)
    slope = make_cells(tmp_path / "slope", curve({0.0: 0.6, 0.5: 0.7, 0.9: 0.7, 1.0: 0.8}))
    assert verdict(slope, **claim).verdict == "contradicted"
    # The validation part chooses: the test part's best does not count if validation prefers another.
    misled = hill.assign(validation=hill["validation"].where(hill["lambda"] != 0.5, 0.99))
    assert all("lambda 0.5" in finding.setting for finding in verdict(misled, **claim).findings)


def test_largest_gain_is_compared_with_the_claimed_value(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.70, CLCE: 0.735}, noise=0.005)
    claim = {"kind": "largest_gain", "tolerance": 1.0}
    assert verdict(summary, value=3.52, **claim).verdict == "reproduced"
    assert verdict(summary, value=9.0, **claim).verdict == "contradicted"
    assert verdict(summary, value=3.52, kind="largest_gain", tolerance=0.001).verdict == "undecided"


def test_the_largest_of_many_gains_lies_between_intervals_that_hold_together(tmp_path):
    kinds = {2**k: (setting(loss="ce", batch_size=2**k), setting(loss="clce", batch_size=2**k)) for k in range(6)}
    effects = {one: 0.7 + gain for pair in kinds.values() for one, gain in zip(pair, (0, 0.03), strict=True)}
    summary = make_cells(tmp_path, effects, units=40)
    found = verdict(summary, alpha=0.06, kind="largest_gain", value=2.0, tolerance=1.0)
    ends = []
    for size in kinds:
        both = [
            as_rows(summary[(summary["batch_size"] == size) & (summary["loss"] == loss)]) for loss in ("clce", "ce")
        ]
        ends.append(contrast([(1, both[0]), (-1, both[1])], "metric.top1").at(1 - 0.06 / 6)[1:3])
    assert (found.low, found.high) == pytest.approx(tuple(np.max(ends, axis=0)))
    assert found.effect == max(one.effect for one in found.findings)


def test_p_value_of_seeds_alone_is_scipys(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.75}, seeds=5)
    for directory in summary["directory"]:
        Path(directory, "metrics.npz").unlink()
    found = verdict(summary)
    by_seed = summary.pivot(index="seed", columns="loss", values="metric.top1") * 100
    assert found.p == pytest.approx(stats.ttest_rel(by_seed["clce"], by_seed["ce"]).pvalue, rel=1e-6)


def test_a_size_tells_smaller_gains_from_those_claimed(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, noise=0.01)
    assert verdict(summary, size=4.0).verdict == "reproduced"
    smaller = verdict(summary, size=9.0)
    assert (smaller.verdict, smaller.size, smaller.margin) == ("reproduced, smaller than claimed", 9.0, 1.0)
    assert smaller.smallest_visible < 2
    # The share of the page's error rate sets the level of the interval.
    strict = verdict(summary, alpha=0.001)
    assert strict.low < verdict(summary).low < verdict(summary).high < strict.high


def test_no_verdict_rests_on_one_split_of_the_classes(tmp_path):
    metric = "fewshot_5way_1shot"
    once = few_shot_cells(tmp_path / "once", gain=0.3)
    found = verdict(once, metric=metric)
    assert (found.verdict, "for these classes only" in found.reason) == ("undecided", True)
    assert found.low > 0
    assert verdict(few_shot_cells(tmp_path / "thrice", range(3), gain=0.3), metric=metric).verdict == "reproduced"
    # Beside results that speak of more, they neither decide nor stand in the way.
    both = pd.concat([once, make_cells(tmp_path / "cells", {CE: 0.7, CLCE: 0.6}, dataset="openmoji")])
    assert verdict(both, metric=[metric, "top1"]).verdict == "contradicted"


def test_caveats_stand_beside_verdicts():
    claims = packaged_claims()
    assert all("printed equation of CLCE was not seen" in c["caveat"] for c in claims.values() if c["paper"] == "CLCE")
    assert parse_claim(claims["tcl-positive-gradient"]).judge(None, 0.0).reason.startswith("For our implementation")


def test_caveats_end_the_reason(tmp_path):
    assert verdict(make_cells(tmp_path, {CE: 0.7, CLCE: 0.8}), caveat="Mind this.").reason.endswith("Mind this.")


def test_verdicts_survive_their_file(tmp_path):
    found = [verdict(make_cells(tmp_path / "a", {CE: 0.7, CLCE: 0.8})), verdict(make_cells(tmp_path / "b", {CE: 0.5}))]
    write_verdicts(tmp_path / "verdicts.json", found)
    assert read_verdicts(tmp_path / "verdicts.json") == found
    assert json.loads((tmp_path / "verdicts.json").read_text())[0]["verdict"] == "reproduced"


def experiment(claims):
    grids = [{"name": "main", "dataset": "digits", "loss": ["ce", "clce"]}]
    return parse_experiment({"name": "x", "grids": grids, "claims": claims}, "x.yaml")


def test_claims_of_the_papers_are_complete_and_named_in_experiments():
    assert len(experiment("all").claims) == len(packaged_claims()) >= 15
    assert {claim.paper for claim in experiment("all").claims} == {"CLCE", "SCHaNe", "TCL"}
    (claim,) = experiment([{"id": "clce-above-ce", "grids": "main"}]).claims
    assert (claim.grids, claim.first) == (["main"], {"loss": ["clce"]})
    again = Experiment.model_validate_json(experiment("all").model_dump_json(by_alias=True))
    assert again.claims == experiment("all").claims


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (["clce-above-cee"], "Did you mean 'clce-above-ce'"),
        ([{"id": "clce-above-ce", "grids": "mian"}], "Did you mean 'main'"),
        ([{**ABOVE, "first": {"los": "ce"}}], "'los' is not an axis. Did you mean 'loss'"),
        ([{**ABOVE, "second": {}}], "claims[0].second: {} is not allowed"),
        ([{**ABOVE, "kind": "steadier"}], "over: this key is required"),
        ([{**ABOVE, "direction": "up"}], "'direction' is not a key"),
        ([{**ABOVE, "tolerance": -1}], "claims[0].tolerance"),
        ([{**ABOVE, "kind": "steadyer"}], "Did you mean 'steadier'"),
    ],
)
def test_mistakes_in_claims_are_explained(claims, message):
    with pytest.raises(UserError) as caught:
        experiment(claims)
    assert message in str(caught.value)


EXAMPLES = {claim.get("kind", "difference"): claim for claim in packaged_claims().values()}


@pytest.mark.parametrize("kind", sorted(CLAIMS))
def test_every_kind_of_claim_is_read_written_and_judged(kind, tmp_path):
    claim = parse_claim(EXAMPLES[kind])
    assert (type(claim), claim.kind) == (load(CLAIMS[kind]), kind)
    assert type(claim).__doc__
    assert parse_claim(json.loads(claim.model_dump_json())) == claim
    with pytest.raises(UserError, match=r"claims\[0\].*'secnod' is not a key"):
        experiment([{**EXAMPLES[kind], "secnod": {"loss": "ce"}}])
    found = claim.judge(make_cells(tmp_path, {setting(loss="hcl"): 0.5}), 0.05)
    assert (found.claim, found.statement, found.paper) == (claim.id, claim.statement, claim.paper)
    assert (found.verdict == "not tested") == (kind != "theorem")
    assert found.reason


@pytest.mark.parametrize(("name", "k1", "k2"), [("tcl", 50.0, 2.0), ("tcl", 3.0, 1.0), ("supcon", 0.0, 1.0)])
def test_gradients_in_closed_form_equal_autograd(name, k1, k2):
    """Through the projection onto the tangent plane: d loss / d z_j = (1 / anchors) · gradient · z_i for one anchor."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 3, 4, 5])
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    options = {"k1": k1, "k2": k2} if name == "tcl" else {}
    loss = create_loss(name, temperature=0.3, reduction="none", **options)
    anchor = unit[0].clone()
    similarities = (unit @ anchor).detach().requires_grad_()

    # Rows whose products with the anchor are the similarities: one axis for it, one of its own for each other row.
    others = torch.eye(8, dtype=torch.float64) * torch.sqrt(1 - similarities[1:] ** 2)[:, None]
    rows = torch.cat([similarities[1:, None], others], dim=1)
    first = torch.eye(9, dtype=torch.float64)[:1]
    value = loss(torch.cat([first, rows]), labels)[0]
    (gradient,) = torch.autograd.grad(value, similarities)
    expected = tcl_gradients(similarities[1:4].detach().numpy(), similarities[4:].detach().numpy(), 0.3, k1, k2)
    np.testing.assert_allclose(gradient[1:4].numpy(), expected.positive, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(gradient[4:].numpy(), expected.negative, rtol=1e-5, atol=1e-8)


def test_theorems_hold_and_a_wrong_one_would_be_seen(monkeypatch):
    monkeypatch.setattr(gradient_theorems, "DRAWS", 300)
    assert gradient_theorems.positive_gradient_margin() > 0
    assert gradient_theorems.negative_gradient_margin() > 0
    right = gradient_theorems.tcl_gradients
    # k1 with the other sign pushes the hardest positive away.
    monkeypatch.setattr(gradient_theorems, "tcl_gradients", lambda p, n, t, k1, k2: right(p, n, t, -k1, k2))
    assert gradient_theorems.positive_gradient_margin() < 0
    assert verdict(pd.DataFrame(), kind="theorem", theorem="tcl-positive-gradient").verdict == "contradicted"
    monkeypatch.setattr(gradient_theorems, "tcl_gradients", lambda p, n, t, k1, k2: right(p, n, t, k1, k2 and 1 / k2))
    assert gradient_theorems.negative_gradient_margin() < 0
    summary = pd.DataFrame()
    assert verdict(summary, kind="theorem", theorem="tcl-negative-gradient").verdict == "contradicted"


def test_the_default_experiment_names_claims_that_its_cells_can_speak_to():
    from tests.helpers.miniature import ROOT

    config = parse_experiment(yaml.safe_load((ROOT / "config.yaml").read_text()), "config.yaml")
    losses = {loss.name for grid in config.grids for loss in grid.loss}
    for claim in config.claims:
        for side in getattr(claim, "sides", []):
            assert set(side.get("loss", [])) <= losses
