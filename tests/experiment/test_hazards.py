"""Hazards do what their names say, where they are asked for, and never without being seen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from docutils.core import publish_parts
from jinja2 import Environment
from scipy import stats
from torch import nn

from clce_bench.analysis.comparisons import compare
from clce_bench.analysis.hazard_effects import audit_of, audit_text
from clce_bench.analysis.paired_outcomes import contrast
from clce_bench.analysis.published_numbers import add_published
from clce_bench.analysis.result_tables import comparison_table
from clce_bench.analysis.summary_rows import as_rows
from clce_bench.components.registry import load_dataset
from clce_bench.data.prepared import rows_by_part
from clce_bench.data.splits import divide, make_splits
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell, union
from clce_bench.experiment.claims import parse_claim
from clce_bench.experiment.dataset_options import Split
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.hazards import HAZARDS, PROCESSES, Hazard
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.experiment.recipes import Runtime
from clce_bench.figures.audit import Audit
from clce_bench.figures.source import Source
from clce_bench.losses import create_loss
from clce_bench.planning.plan import plan_of
from clce_bench.report.headline import print_headline, table_rows
from clce_bench.report.warnings import _views
from clce_bench.training import build
from clce_bench.training.batches import TrainBatches, epoch_batches
from clce_bench.training.checkpoint import Checkpoints
from clce_bench.training.contrastive_loss import contrastive_loss
from clce_bench.training.loop import fit
from tests.helpers.made_up import leave_out_pictures, make_up, write_all
from tests.helpers.miniature import ROOT
from tests.helpers.outcomes import make_cells, setting
from tests.training.test_step import train_step

RECIPE = {"label_smoothing": 0.1, "augmentation": {"erasing": 0.25, "flip": 0.5}}
GRID = {"name": "main", "dataset": "digits", "loss": ["ce", "supcon", "clce"], "lambda": 0.9}


def cells(hazards=(), **grid):
    values = {"name": "test", "losses": {"ce": {"recipe": RECIPE}}, "grids": [{**GRID, "hazards": [*hazards], **grid}]}
    return {cell.loss.name: cell for cell in union(cells_of(parse_experiment(values, "test.yaml")))}


def test_no_cell_has_a_hazard_that_nobody_asked_for():
    for path in [ROOT / "config.yaml", *(ROOT / "experiments").glob("*.yaml")]:
        if path.stem != "audit":
            experiment = load_experiment(path)
            asked = {hazard for grid in experiment.grids for hazard in grid.hazards}
            assert asked == ({"unequal-views"} if path.stem == "tcl" else set())
            for cell in union(cells_of(experiment)):
                assert asked or "hazard" not in cell.name
                assert asked.issuperset(cell.spec.get("hazards", []))


CHANGED = {
    "same-crop": {"ce", "supcon", "clce"},
    "leaky-split": {"ce", "supcon", "clce"},
    "test-selection": {"ce", "supcon", "clce"},
    "ignored-regularisation": {"ce"},
    "unequal-views": {"ce"},
    "per-process-negatives": {"supcon", "clce"},
    "scaled-supcon": {"supcon"},
}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_hazard_is_in_the_name_of_the_cells_that_it_changes_and_of_no_others(hazard):
    honest, broken = cells(), cells([hazard])
    assert {loss for loss in honest if broken[loss].name != honest[loss].name} == CHANGED[hazard]
    for loss in CHANGED[hazard]:
        assert f"_hazards-{hazard}_" in broken[loss].name
        assert broken[loss].spec["hazards"] == [hazard]
        assert broken[loss].axes["hazards"] == hazard
        assert Cell.model_validate(broken[loss].spec).name == broken[loss].name


def test_order_and_repetition_of_hazards_do_not_matter():
    names = list(HAZARDS)
    assert cells(names) == cells([*names[::-1], names[0]])
    # One view of an image cannot be the same crop twice.
    assert "same-crop" not in cells(names)["ce"].hazards


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hazards": ["same-crops"]}, "'same-crops' is not a hazard. Did you mean 'same-crop'?"),
        ({"hazards": "per-process-negatives", "batch_size": 20}, "batch_size: 20 is not allowed. Allowed with"),
        ({"hazards": "leaky-split", "dataset": "openmoji-fs"}, "leaky-split is not allowed on openmoji-fs"),
    ],
)
def test_a_hazard_that_cannot_be_is_refused_when_the_file_is_read(changes, message):
    with pytest.raises(UserError) as caught:
        plan_of(parse_experiment({"name": "test", "grids": [{**GRID, **changes}]}, "test.yaml"))
    assert message in str(caught.value)


def test_ignored_regularisation_and_unequal_views_change_the_recipe():
    honest, broken = cells()["ce"], cells(["ignored-regularisation", "unequal-views"])["ce"]
    assert (honest.recipe.label_smoothing, honest.augmentation.erasing, honest.recipe.views) == (0.1, 0.25, 2)
    assert (broken.recipe.label_smoothing, broken.augmentation.erasing, broken.recipe.views) == (0, 0, 1)
    assert broken.augmentation.flip == 0.5


def test_same_crop_shows_the_first_view_twice():
    def drawn(same_crop):
        return list(epoch_batches(np.arange(40), 20, 3, 8, 1, "digits", 0, same_crop=same_crop))

    for (rows, views), (same_rows, same) in zip(drawn(False), drawn(True), strict=True):
        assert (rows == same_rows).all()
        assert (same.reshape(3, 20) == views.reshape(3, 20)[0]).all()
        assert not (views.reshape(3, 20)[1] == views.reshape(3, 20)[0]).any()


def test_a_leaky_split_trains_on_test_images_and_tests_on_the_same_ones_as_the_honest_split(tmp_path):
    labels = np.repeat(np.arange(5), 200)
    frame = pd.DataFrame({"label": labels, "class": labels.astype(str), "group": np.arange(1000) // 2, "part": None})
    source = replace(load_dataset("digits"), name="digits", images="digits")
    frame.assign(id=np.arange(1000).astype(str)).to_parquet(tmp_path / "items.parquet")
    spec = {"dataset": "digits", "size": 8, "split": {}}
    make_splits(spec, tmp_path / "items.parquet", tmp_path / "honest")
    make_splits({**spec, "hazards": ["leaky-split"]}, tmp_path / "items.parquet", tmp_path / "leaky")
    honest, leaky = (rows_by_part(tmp_path / name / "splits.json", 0) for name in ("honest", "leaky"))
    assert (honest["test"] == leaky["test"]).all()
    assert len(honest["train"]) == pytest.approx(len(leaky["train"]), abs=10)
    assert not np.isin(honest["test"], honest["train"]).any()
    # Three quarters are drawn for training and validation, four fifths of them train.
    assert np.isin(leaky["test"], leaky["train"]).mean() == pytest.approx(0.6, abs=0.1)
    assert not np.isin(leaky["validation"], leaky["train"]).any()
    group = frame["group"].to_numpy()
    copies = np.setdiff1d(leaky["test"], leaky["train"])
    assert np.isin(group[copies], group[leaky["train"]]).mean() > 0.3
    with pytest.raises(UserError, match="leaky-split is not allowed: digits has parts of its own"):
        divide(frame.assign(part=["train"] * 800 + ["test"] * 200), source, Split(), leaky=True)


@pytest.mark.parametrize("selecting", [False, True])
def test_test_selection_keeps_the_weights_of_the_best_epoch(tmp_path, selecting):
    taking = train_step(epochs=3, views=1)
    taking.cell = taking.cell.model_copy(update={"hazards": [Hazard.TEST_SELECTION] if selecting else []})
    accuracies, weights = iter([0.5, 0.9, 0.7]), []

    class Inputs:
        views = None

        def stream(self, batches):
            for rows, _ in batches:
                yield torch.randn(len(rows), 10, generator=torch.Generator().manual_seed(int(rows[0])))

    def validate():
        weights.append(taking.model.classifier.weight.detach().clone())
        return next(accuracies)

    labels = torch.arange(24) % 4
    batches = TrainBatches(taking.cell, Inputs(), np.arange(24), labels)
    fit(taking, batches, validate, Checkpoints(tmp_path / "none", "x", 1e9))
    assert torch.equal(taking.eval_model.classifier.weight, weights[1 if selecting else 2])
    resumed = train_step(epochs=3, views=1)
    resumed.load(taking.state())
    resumed.restore_best()
    assert torch.equal(resumed.eval_model.classifier.weight, taking.eval_model.classifier.weight)


def test_per_process_negatives_is_the_mean_over_processes_that_see_only_their_images():
    cell = cells(["per-process-negatives"], batch_size=32)["clce"]
    z = nn.functional.normalize(torch.randn(64, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = (torch.arange(32) % 3).repeat(2)
    parts = [
        torch.cat([torch.arange(4 * rank, 4 * rank + 4) + start for start in (0, 32)]) for rank in range(PROCESSES)
    ]
    expected = np.mean([create_loss("clce")(z[own], labels[own]).item() for own in parts])
    assert contrastive_loss(cell)(z, labels).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(cells(batch_size=32)["clce"])(z, labels).item() != pytest.approx(expected, rel=1e-3)


def test_processes_that_cannot_stand_for_eight_are_refused(monkeypatch):
    monkeypatch.setattr(build.distributed, "world_size", lambda: 3)
    with pytest.raises(UserError, match="runtime.processes: 3 cannot stand for 8"):
        build._check(cells(["per-process-negatives"], batch_size=48)["clce"], Runtime())


def test_scaled_supcon_is_supcon_times_temperature_over_007():
    z, labels = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    loss = {"name": "supcon", "temperature": 0.5}
    honest, scaled = (contrastive_loss(cells(on, loss=loss)["supcon"])(z, labels) for on in ([], ["scaled-supcon"]))
    assert scaled.item() == pytest.approx(honest.item() * 0.5 / 0.07, rel=1e-5)


CE, CLCE, SUPCON = setting(loss="ce"), setting(loss="clce"), setting(loss="supcon")


def test_the_pooled_interval_takes_all_images_of_all_seeds_for_independent(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=4)
    table = compare(summary, "metric.top1").set_index("loss").loc["clce"]
    sides = {loss: own.sort_values("seed") for loss, own in summary.groupby("loss")}
    one, other = (
        [np.load(f"{d}/metrics.npz")["outcome.top1"] for d in sides[loss]["directory"]] for loss in ("clce", "ce")
    )
    values = 100 * (np.concatenate(one) - np.concatenate(other))
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (table["pooled_low"], table["pooled_high"]) == pytest.approx((low, high))


@pytest.fixture
def audited(tmp_path):
    """Honest cells, and a hazard that lifts CLCE by 6 points and leaves cross-entropy alone."""
    honest = make_cells(tmp_path / "honest", {CE: 0.7, CLCE: 0.72}, seeds=4, noise=0.02)
    broken = make_cells(tmp_path / "broken", {CLCE: 0.78}, seeds=4, noise=0.02, hazards="same-crop")
    honest.loc[honest["loss"] == "ce", "grids"] = "main broken"
    return pd.concat([honest, broken.assign(grids="broken", cell="broken" + broken["cell"])], ignore_index=True)


def test_an_audit_pairs_the_four_sides(audited):
    table = audit_of(audited, ["main", "broken"], "metric.top1").set_index("grid")
    sides = {key: as_rows(own) for key, own in audited.groupby(["loss", "hazards"])}
    terms = [(1, sides["clce", "same-crop"]), (-1, sides["clce", ""])]  # Cross-entropy is the same on both sides.
    expected = contrast(terms, "metric.top1").interval
    row = table.loc["broken"]
    assert (row["change"], row["change_low"], row["change_high"]) == pytest.approx(expected[:3])
    assert row["change"] == pytest.approx(6, abs=1)
    assert row["difference"] == pytest.approx(table.loc["main", "difference"] + row["change"])
    assert np.isnan(table.loc["main", "change"])
    text = audit_text(table.reset_index())
    assert text["hazards"].tolist() == ["none", "same-crop"]
    assert text["change of − CE [95 %]"].tolist()[0] == ""
    # Cross-entropy is the very same there.
    assert text["change of CE [95 %]"].tolist() == ["", ""]
    reference = 100 * np.mean([cell["metric.top1"] for cell in sides["ce", ""]])
    assert text["CE [95 %]"].str.startswith(f"{reference:.2f} [").all()


def test_an_audit_says_what_a_hazard_does_to_the_baseline_alone(tmp_path):
    honest = make_cells(tmp_path / "honest", {CE: 0.7, CLCE: 0.72, SUPCON: 0.71}, seeds=4)
    weaker = make_cells(tmp_path / "weaker", {CE: 0.65}, seeds=4, noise=0.12, hazards="unequal-views", grids="broken")
    honest.loc[honest["loss"] != "ce", "grids"] = "main broken"
    rows = pd.concat([honest, weaker.assign(cell="weaker" + weaker["cell"])], ignore_index=True)
    table = audit_of(rows, ["main", "broken"], "metric.top1").set_index(["grid", "loss"]).loc["broken"]
    by_seed = rows.pivot_table("metric.top1", "seed", ["loss", "hazards"])["ce"] * 100
    for row in table.to_dict("records"):
        assert row["ce"] == pytest.approx(by_seed["unequal-views"].mean())
        assert row["ce_change"] == pytest.approx((by_seed["unequal-views"] - by_seed[""]).mean())
        # The whole gain comes from the baseline.
        assert (row["change"], row["change_low"]) == pytest.approx((-row["ce_change"], -row["ce_change_high"]))


def test_what_rests_on_the_same_cells_has_no_change_and_costs_no_correction(audited, tmp_path):
    same = make_cells(tmp_path / "same", {SUPCON: 0.71}, seeds=4, grids="main broken")
    table = audit_of(pd.concat([audited, same]), ["main", "broken"], "metric.top1").set_index(["grid", "loss"])
    assert table.loc[("broken", "supcon"), ["change", "p", "p_holm"]].isna().all()
    assert table.loc[("broken", "supcon"), "difference"] == table.loc[("main", "supcon"), "difference"]
    assert table.loc[("broken", "clce"), "p_holm"] == table.loc[("broken", "clce"), "p"]
    assert audit_text(table.reset_index())["p (Holm)"].tolist()[-2:].count("") == 1


def test_an_audit_compares_settings_with_themselves(tmp_path):
    """A sweep of the temperature: what is compared must have one temperature on both sides."""
    cells = {(*CLCE, ("loss.temperature", one)): accuracy for one, accuracy in ((0.1, 0.72), (0.5, 0.8))}
    honest = make_cells(tmp_path / "honest", {CE: 0.7, **cells}, seeds=4, noise=0.02)
    broken = make_cells(tmp_path / "broken", cells, seeds=4, noise=0.02, hazards="same-crop", grids="broken")
    honest.loc[honest["loss"] == "ce", "grids"] = "main broken"
    rows = pd.concat([honest, broken.assign(cell="broken" + broken["cell"])], ignore_index=True)
    table = audit_of(rows, ["main", "broken"], "metric.top1")
    assert table["change"].dropna().abs().max() < 2
    assert table["setting"].unique().tolist() == [f"CLCE, λ = 0.9, temperature {one}" for one in (0.1, 0.5)]
    canvas = Audit(kind="audit", grid=["main", "broken"]).draw(Source(rows, pd.DataFrame())).canvas
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == table["setting"].unique().tolist()
    assert [axes.get_title() for axes in canvas.axes] == ["digits, batch 64", "change against main"]
    (alone,) = Audit(kind="audit", grid=["main"]).draw(Source(rows, pd.DataFrame())).canvas.axes
    assert [len(bars.lines[0].get_xdata()) for bars in alone.containers] == [1, 1]
    # Nothing to compare with: the honest side has another temperature.
    alone = rows[(rows["hazards"] == "") == (rows["loss.temperature"] != 0.1)]
    assert audit_of(alone, ["main", "broken"], "metric.top1")["change"].isna().all()


def test_a_claim_without_grids_is_not_judged_by_hazards(audited):
    claim = {"id": "x", "statement": "x", "paper": "x", "place": "x", "metric": "top1"}
    claim |= {"first": {"loss": "clce"}, "second": {"loss": "ce"}}
    values = {"name": "test", "grids": [GRID], "claims": [claim]}
    (parsed,) = parse_experiment(values, "test.yaml").claims
    found = parsed.judge(audited, 0.05)
    assert len(found.findings) == 1
    assert found.effect == pytest.approx(2, abs=1)
    assert not any(name.startswith("broken") for name in found.cells)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figures": [{"kind": "differences", "grid": ["main", "broken"]}]}, "these grids differ in their hazards"),
        ({"claims": [{"id": "clce-above-ce", "grids": ["main", "broken"]}]}, "these grids differ in their hazards"),
        ({"figures": [{"kind": "audit", "grid": ["broken", "main"]}]}, "first grid of an audit must have no hazards"),
    ],
)
def test_cells_with_and_without_a_hazard_are_never_mixed(changes, message):
    grids = [GRID, {**GRID, "name": "broken", "hazards": "same-crop"}]
    with pytest.raises(UserError, match=message):
        plan_of(parse_experiment({"name": "test", "grids": grids, **changes}, "test.yaml"))


def test_fewer_views_for_cross_entropy_are_told_whoever_asked_for_them(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.72})
    assert _views(summary.assign(**{"recipe.views": 2}), ["main"]) == ""
    summary["recipe.views"] = summary["loss"].map({"ce": 1, "clce": 2})
    assert "fewer views of an image" in _views(summary, ["main"])
    # A hazard has its banner.
    assert _views(summary.assign(hazards="unequal-views"), ["main"]) == ""
    assert _views(summary.assign(hazards="leaky-split, unequal-views"), ["main"]) == ""
    # Another hazard's banner does not speak of views.
    assert "fewer views of an image" in _views(summary.assign(hazards="same-crop"), ["main"])


def test_snakemakes_report_opens_with_the_hazards():
    environment = Environment(trim_blocks=True, lstrip_blocks=True)  # As Snakemake does.
    template = environment.from_string((ROOT / "workflow/report/workflow.rst").read_text())

    def opening(**config):
        page = publish_parts(template.render(snakemake=SimpleNamespace(config=config)), writer="html")["html_body"]
        assert "system-message" not in page
        return page

    honest = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert "hazard" not in opening(**honest)
    assert "<li>" not in opening(**honest)
    page = opening(**yaml.safe_load((ROOT / "experiments/audit.yaml").read_text()))
    assert "This experiment breaks rules on purpose" in page
    assert page.count("<li>") == len(HAZARDS) + 1
    assert "same-crop: same-crop" in page
    assert f"all-together: {', '.join(HAZARDS)}" in " ".join(page.split())


def test_a_difference_to_a_broken_baseline_names_its_hazards(tmp_path):
    weaker = make_cells(tmp_path / "weaker", {CE: 0.65}, noise=0.12, hazards="unequal-views")
    rows = pd.concat([weaker, make_cells(tmp_path / "honest", {CLCE: 0.72, SUPCON: 0.71})], ignore_index=True)
    rows.loc[rows["loss"] == "supcon", "hazards"] = "scaled-supcon"
    table = add_published(compare(rows, "metric.top1"), "metric.top1")
    expected = {"ce": "", "supcon": "unequal-views, scaled-supcon", "clce": "unequal-views"}
    assert table.set_index("loss")["difference_hazards"].to_dict() == expected
    assert comparison_table(table)["hazards in − CE"].tolist() == list(expected.values())
    assert [row["hazards in difference"] for row in table_rows(table, "metric.top1")] == list(expected.values())
    claim = {"id": "x", "statement": "x", "paper": "x", "place": "x", "metric": "top1", "grids": ["main"]}
    claim |= {"first": {"loss": "clce"}, "second": {"loss": "ce"}}
    found = parse_claim(claim).judge(rows, 0.05)
    assert found.reason == "The interval of the only comparison lies above 0. With hazards: unequal-views."
    honest = parse_claim(claim).judge(rows.assign(hazards=""), 0.05)
    assert honest.reason == "The interval of the only comparison lies above 0."


def test_whoever_reads_the_results_is_told(monkeypatch, capsys):
    leave_out_pictures(monkeypatch)
    grids = [GRID | {"seed": [0, 1]}]
    grids.append({**grids[0], "name": "broken", "hazards": ["same-crop", "scaled-supcon"]})
    figures = [{"kind": "audit", "grid": ["main", "broken"]}, {"kind": "differences", "grid": "broken"}]
    experiment, plan = make_up(grids=grids, figures=figures, headline="broken")
    page = write_all(experiment, plan)
    assert "This experiment breaks rules on purpose" in page
    assert "same-crop: all views of an image in a batch are one and the same crop (in broken)" in page
    assert "<td>same-crop, scaled-supcon</td>" in page  # In tables, beside SupCon.
    caption = (plan.folder / "figures/differences-broken.txt").read_text()
    assert "With hazards, on purpose: same-crop, scaled-supcon." in caption
    assert "hazards" in (plan.folder / "tables/broken-top1.md").read_text()
    assert "hazards" not in (plan.folder / "tables/main-top1.md").read_text()
    assert (plan.folder / "tables/audit-main-broken.md").exists()
    drawn = pd.read_csv(plan.folder / "figures/audit-main-broken.csv")
    assert set(zip(drawn["metric"], drawn["grid"], drawn["loss"], strict=True)) == {
        (f"metric.{m}", g, n) for m in ("top1", "probe_top1") for g in ("main", "broken") for n in ("supcon", "clce")
    }
    table = (plan.folder / "tables/audit-main-broken.md").read_text()
    assert (table.count("| test top-1 (%) |"), table.count("| linear-probe test top-1 (%) |")) == (4, 4)

    print_headline(experiment)
    assert "Hazard switched on: scaled-supcon" in capsys.readouterr().out
