"""Comparisons, tables and published numbers on made-up cells."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clce_bench.analysis.comparisons import compare, compare_pairs, comparisons_of
from clce_bench.analysis.difference_variance import variance_of_differences
from clce_bench.analysis.intervals import class_interval, crossed_interval, split_interval
from clce_bench.analysis.paired_outcomes import RUN, contrast
from clce_bench.analysis.power import smallest_visible, spread_of
from clce_bench.analysis.published_numbers import add_published, parse_published, published_numbers
from clce_bench.analysis.result_tables import comparison_table, latex, markdown, verdict_table, with_minus, write_table
from clce_bench.analysis.settings import settings_of, varying_columns, with_baselines
from clce_bench.analysis.significance import holm
from clce_bench.analysis.summary_rows import AXES, PLACE, as_rows, matching
from clce_bench.analysis.unit_outcomes import unit_outcomes
from clce_bench.errors import UserError
from tests.helpers.outcomes import few_shot_cells, make_cells, setting

CE, CLCE, TCL = setting(loss="ce"), setting(loss="clce"), setting(loss="tcl")


def cells_of(summary, loss):
    return as_rows(summary[summary["loss"] == loss])


def difference(summary, first="clce", second="ce"):
    return contrast([(1, cells_of(summary, first)), (-1, cells_of(summary, second))], "metric.top1")


def test_a_difference_pairs_seeds_and_images(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=4)
    values = {
        (row.loss, row.seed): np.load(f"{row.directory}/metrics.npz")["outcome.top1"] for row in summary.itertuples()
    }
    table = 100 * np.stack([values["clce", seed] - values["ce", seed] for seed in range(4)])
    found = difference(summary)
    np.testing.assert_allclose(found.tables[0], table)
    assert (found.runs, found.units, len(found.cells)) == (4, 80, 8)
    assert found.interval == pytest.approx(crossed_interval(table), rel=1e-9)
    # Images differ by 10 points; paired, that cancels.
    alone = contrast([(1, cells_of(summary, "clce"))], "metric.top1").interval
    assert found.interval.high - found.interval.low < 1.3 * (alone.high - alone.low)


def test_only_runs_that_both_have_count(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=4)
    summary.loc[(summary["loss"] == "ce") & (summary["seed"] == 1), "metric.top1"] = np.nan
    found = difference(summary)
    assert (found.runs, len(found.cells)) == (3, 6)
    nothing = difference(summary[summary["loss"] != "ce"])
    assert (nothing.runs, math.isnan(nothing.interval.mean)) == (0, True)


def test_near_copies_are_one_unit(tmp_path):
    np.savez(tmp_path / "metrics.npz", **{"outcome.top1": [1, 1, 0, 1], "unit.top1": [0, 0, 0, 1]})
    outcomes = unit_outcomes(str(tmp_path), "metric.top1")
    assert outcomes.sizes.tolist() == [1.5, 0.5]
    assert outcomes.values.mean() == pytest.approx(0.75)
    assert unit_outcomes(str(tmp_path), "metric.ece") is None


def test_groups_of_many_images_do_not_make_a_mean_look_uncertain(tmp_path):
    """The interval of a mean over groups of different size is that of a ratio (Cochran, Sampling Techniques, 6.3)."""
    rng, sizes = np.random.default_rng(0), np.array([1] * 50 + [12] * 5)
    units, rows = np.repeat(np.arange(55), sizes), []
    for seed in range(3):
        answers = rng.random(len(units)) < 0.6
        folder = tmp_path / str(seed)
        folder.mkdir()
        np.savez(folder / "metrics.npz", **{"outcome.top1": answers, "unit.top1": units})
        rows.append(make_cells(tmp_path / f"made{seed}", {CE: 0.6}, seeds=1).assign(seed=seed, directory=str(folder)))
        rows[-1]["metric.top1"] = answers.mean()
    found = contrast([(1, as_rows(pd.concat(rows)))], "metric.top1")
    table, mean = found.tables[0] / 100, found.interval.mean / 100
    assert mean == pytest.approx(np.mean([row["metric.top1"].iloc[0] for row in rows]))
    answers = [np.load(tmp_path / str(seed) / "metrics.npz")["outcome.top1"] for seed in range(3)]
    sums = np.array([np.bincount(units, own) for own in answers])
    np.testing.assert_allclose(table - mean, (sums - mean * sizes) / sizes.mean(), atol=1e-12)


def in_turn(folder, seeds=3, parts=4):
    cells = [
        make_cells(folder / str(part), {CE: 0.7, CLCE: 0.72}, seeds=seeds, units=20 + part).assign(test_fold=part)
        for part in range(parts)
    ]
    summary = pd.concat(cells, ignore_index=True)
    return summary.assign(cell=summary["test_fold"].astype(str) + summary["cell"])


def test_parts_that_test_in_turn_are_stitched_so_that_each_image_counts_once(tmp_path):
    summary = in_turn(tmp_path)
    found = difference(summary)
    assert (found.runs, found.units, len(found.cells)) == (3, 20 + 21 + 22 + 23, 24)
    means = summary.pivot(index=["test_fold", "seed"], columns="loss", values="metric.top1") * 100
    by_part = (means["clce"] - means["ce"]).groupby("test_fold").mean()
    weights = np.arange(20, 24) / 86
    assert found.interval.mean == pytest.approx((by_part * weights).sum())
    assert found.interval == pytest.approx(crossed_interval(found.tables[0]))
    assert found.corrected == pytest.approx(split_interval(by_part.to_numpy(), 0.4, 3))
    row = compare(summary, "metric.top1").set_index("loss").loc["clce"]
    assert (row["corrected_low"], row["corrected_high"]) == pytest.approx(found.corrected[1:3])
    assert row["smallest_visible"] == smallest_visible(spread_of(found), 0.05)
    assert row["smallest_visible"] > (row["difference_high"] - row["difference_low"]) / 2


def test_a_run_counts_when_all_its_parts_have_tested(tmp_path):
    summary = in_turn(tmp_path, seeds=4)
    summary.loc[(summary["seed"] == 2) & (summary["test_fold"] == 1) & (summary["loss"] == "ce"), "metric.top1"] = (
        np.nan
    )
    found = difference(summary)
    assert (found.runs, found.units, len(found.cells)) == (3, 86, 24)
    apart = difference(summary[summary["seed"] == summary["test_fold"]])
    assert (apart.runs, apart.units, math.isnan(apart.interval.mean)) == (0, 0, True)


def test_a_part_of_which_only_the_mean_is_known_leaves_the_means_of_the_others(tmp_path):
    summary = in_turn(tmp_path)
    summary.loc[summary["test_fold"] == 2, "directory"] = "nowhere"
    found = difference(summary)
    means = summary.pivot_table(index="seed", columns="loss", values="metric.top1") * 100
    assert found.units == 1
    np.testing.assert_allclose(found.means, means["clce"] - means["ce"])


def test_too_few_or_equal_runs_show_their_values_and_say_why_there_is_no_interval(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=2)
    rows = comparison_table(add_published(compare(summary, "metric.top1"), "metric.top1")).set_index("loss")
    text = rows.loc["CLCE", "− CE [95 %]"]
    assert "no interval: fewer than 3 seeds" in text
    assert text.count(",") == 1
    assert "[" not in text
    same = make_cells(tmp_path / "same", {CE: 0.7, CLCE: 0.74}, seeds=4)
    same["directory"] = same.groupby("seed")["directory"].transform("first")
    same["metric.top1"] = same.groupby("seed")["metric.top1"].transform("first")
    rows = comparison_table(add_published(compare(same, "metric.top1"), "metric.top1")).set_index("loss")
    assert rows.loc["CLCE", "− CE [95 %]"] == "+0.00 (no interval: all runs are equal)"


def test_few_shot_results_of_one_split_of_classes_say_so(tmp_path):
    metric = "metric.fewshot_5way_1shot"
    for folds, expected in ((1, "for these classes"), (3, "")):
        summary = few_shot_cells(tmp_path / str(folds), range(folds))
        row = compare(summary, metric).set_index("loss").loc["clce"]
        assert (row["note"], row["difference_note"]) == (expected, expected)
        found = contrast([(1, cells_of(summary, "clce")), (-1, cells_of(summary, "ce"))], metric)
        assert found.ways.max() == 11 * folds - 1
        assert found.interval == pytest.approx(class_interval(found.tables[0], found.ways))
    text = comparison_table(add_published(compare(few_shot_cells(tmp_path / "x"), metric), metric))
    assert text["− CE [95 %]"].str.endswith("(for these classes)").tolist() == [False, True]


def test_without_outcomes_only_seeds_count(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=4).assign(directory="nowhere")
    by_seed = summary.pivot(index="seed", columns="loss", values="metric.top1") * 100
    reference = stats.ttest_rel(by_seed["clce"], by_seed["ce"])
    found = difference(summary)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(reference.confidence_interval()))
    assert found.interval.p == pytest.approx(reference.pvalue)
    assert found.units == 1


def test_several_splits_are_an_axis_of_their_own(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.74}, seeds=2, splits=(0, 1, 2, 3))
    found = difference(summary)
    means = [table.mean() for table in found.tables.values()]
    assert (len(means), found.runs) == (4, 8)
    assert found.interval == pytest.approx(split_interval(means, 0.4, 8))
    parts = variance_of_differences(comparisons_of(summary, "metric.top1")).set_index("component")
    assert list(parts.index) == ["split", "seed", "unit", "rest"]
    assert parts["share"].sum() == pytest.approx(1)


def test_variance_goes_where_it_comes_from(tmp_path):
    noisy = make_cells(tmp_path / "noisy", {CE: 0.7, CLCE: 0.74}, seeds=5, units=400)
    parts = variance_of_differences(comparisons_of(noisy, "metric.top1")).set_index("component")["share"]
    assert parts["rest"] > 0.5  # The images' own effect cancels in the difference.
    shifted = make_cells(tmp_path / "shifted", {CE: 0.7, CLCE: 0.74}, seeds=5, units=400)
    for row in shifted[shifted["loss"] == "clce"].itertuples():
        arrays = dict(np.load(f"{row.directory}/metrics.npz"))
        np.savez(f"{row.directory}/metrics.npz", **(arrays | {"outcome.top1": arrays["outcome.top1"] + 0.1 * row.seed}))
    parts = variance_of_differences(comparisons_of(shifted, "metric.top1")).set_index("component")["share"]
    assert parts["seed"] > 0.9


def test_comparison_corrects_within_its_table(tmp_path):
    summary = make_cells(tmp_path, {CE: 0.7, CLCE: 0.76, TCL: 0.69})
    table = compare(summary, "metric.top1").set_index("loss")
    assert list(table.index) == ["ce", "clce", "tcl"]
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    assert table["p_holm"].isna().tolist() == [True, False, False]
    assert table.loc["clce", ["n", "pairs", "units"]].tolist() == [3, 3, 80]
    row = table.loc["clce"]
    assert row["bootstrap_low"] < row["difference"] < row["bootstrap_high"]
    assert row["difference"] == pytest.approx(row["mean"] - table.loc["ce", "mean"])


def test_pairs_are_all_pairs_at_one_batch_size(tmp_path):
    cells = {setting(loss=loss, batch_size=size): 0.7 for loss in ("ce", "clce", "tcl") for size in (16, 64)}
    pairs = compare_pairs(make_cells(tmp_path, cells), "metric.top1")
    assert len(pairs) == 6
    assert pairs["first"].str.cat(pairs["second"], sep=" ").tolist()[:3] == ["CE CLCE", "CE TCL", "CLCE TCL"]
    np.testing.assert_allclose(pairs["p_holm"], holm(pairs["p"]))
    assert compare_pairs(make_cells(tmp_path / "one", {CE: 0.7}), "metric.top1").empty


def test_published_numbers_stand_beside_the_cells_that_they_are_for(tmp_path):
    cells = {
        setting(loss="schane", dataset="imagenet", backbone="beit3_base_patch16_224.pt"): 0.85,
        setting(loss="ce", dataset="imagenet", backbone="beit3_base_patch16_224.pt"): 0.84,
        setting(loss="clce", dataset="imagenet", backbone="beit3_base_patch16_224.pt"): 0.86,
    }
    summary = make_cells(tmp_path, cells)
    table = add_published(compare(summary, "metric.top1"), "metric.top1").set_index("loss")
    assert table.loc["schane", "published"] == 86.14
    assert table.loc["schane", "published_difference"] == pytest.approx(table.loc["schane", "mean"] - 86.14)
    assert table.loc["schane", "published_source"] == "SCHaNe, abstract"
    assert table.loc["ce", "published"] == 85.40
    assert np.isnan(table.loc["clce", "published"])
    parts = add_published(compare(summary.assign(images_per_class=20.0), "metric.top1"), "metric.top1")
    assert parts["published"].isna().all()
    rows = comparison_table(table.reset_index()).set_index("loss")
    assert (rows.loc["SCHaNe", "published"], rows.loc["CLCE", "published"]) == ("86.14", "")


def test_published_numbers_are_those_that_were_seen():
    numbers = published_numbers()
    assert len(numbers) == 18
    assert all(number.source and number.place for number in numbers)
    seen = {(number.paper, number.dataset, number.loss, number.metric): number.value for number in numbers}
    assert seen["SupCon", "cifar100", "supcon", "probe_top1"] == 76.5
    assert {number.value for number in numbers if number.kind == "gain"} == {3.52, 3.41, 3.32}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dataset": "cifar-100000"}, "cifar-100000"), ({"loss": "clec"}, "clec"), ({"value": "high"}, "[0].value")],
)
def test_mistakes_in_published_numbers_are_explained(change, message):
    entry = published_numbers()[4].model_dump() | change
    with pytest.raises(UserError, match=r"published.yaml: \[0\]") as caught:
        parse_published(str([entry]).replace("None", "null"))
    assert message in str(caught.value)


def test_tables_are_written_for_people_papers_and_programs(tmp_path):
    table = comparison_table(
        add_published(compare(make_cells(tmp_path, {CE: 0.7, CLCE: 0.7}), "metric.top1"), "metric.top1")
    )
    write_table(table, tmp_path / "main-top1", "main: test top-1 (%)")
    text = (tmp_path / "main-top1.md").read_text().splitlines()
    assert text[0] == "# main: test top-1 (%)"
    assert len(text) == 6
    assert all(line.count("|") == len(table.columns) + 1 for line in text[2:])
    read = pd.read_csv(tmp_path / "main-top1.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(read.astype(object), table.astype(object), check_dtype=False)
    assert verdict_table([]).columns[0] == "claim"


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphens():
    text = "-1.24 [-2.0, +0.5], openmoji-fs 5-way, 2026-11-26, 1e-05, (-3)"
    assert with_minus(text) == "−1.24 [−2.0, +0.5], openmoji-fs 5-way, 2026-11-26, 1e-05, (−3)"


def test_markup_of_the_target_is_escaped():
    table = pd.DataFrame({"a_b": ["50 % & more", "x|y", "λ ≥ 1 − ε^2"]})
    assert "x\\|y" in markdown(table)
    text = latex(table, "50 %")
    for piece in (r"a\_b", r"50 \% \& more", r"$\lambda$ $\geq$ 1 $-$ ", r"\textasciicircum{}2", r"\caption{50 \%}"):
        assert piece in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1


def made_up_settings(count=300):
    rng = np.random.default_rng(0)
    values = {
        **{axis: ["a", "b"] for axis in ("dataset", "backbone", "loss")},
        "images_per_class": [np.nan, 5.0],
        "label_noise": [0.0],
        "batch_size": [16, 64],
        "lambda": [0.0, 0.9],
        "hazards": ["", "same-crop"],
        "loss.k1": [np.nan, 1.0, 10.0],
        "recipe.optimizer": ["adamw", "sgd"],
        "recipe.epochs": [3],
    }
    rows = pd.DataFrame({name: rng.choice(np.array(known, dtype=object), count) for name, known in values.items()})
    return rows.infer_objects()


def test_settings_are_the_groups_that_pandas_makes():
    rows = made_up_settings()
    cells = as_rows(rows)
    assert varying_columns(cells) == ["loss.k1", "recipe.optimizer"]
    keys = [*AXES, "loss.k1", "recipe.optimizer"]
    expected = list(rows.groupby(keys, dropna=False))
    found = list(settings_of(cells))
    assert len(found) == len(expected) > 100
    for (named, members), (known, grouped) in zip(found, expected, strict=True):
        assert list(map(str, named.values())) == list(map(str, known))
        assert members == as_rows(grouped)
    assert varying_columns([cells[0]] * 3) == []


@pytest.mark.parametrize(("reference", "values"), [("ce", 3), ("tcl", 2)])
def test_a_setting_is_compared_with_the_references_cells_at_its_place_if_they_are_of_one_kind(reference, values):
    rng = np.random.default_rng(1)
    rows = made_up_settings(800).replace({"loss": {"a": "tcl", "b": "ce"}})
    rows = rows.assign(**{name: rng.integers(values, size=800) for name in RUN})
    rows["metric.top1"] = rng.choice([0.5, np.nan], 800)
    found = list(with_baselines(as_rows(rows), "metric.top1", reference))
    shared = [*PLACE, *(["lambda"] if reference == "tcl" else [])]
    compared = 0
    for one, own, baseline in found:
        same = matching(rows, {"loss": reference, **{name: one[name] for name in shared}})
        same = same.dropna(subset=["metric.top1"])
        several = same.empty or same.duplicated(RUN).any() or one["loss"] == reference
        assert baseline == (None if several else as_rows(same))
        assert {cell["loss"] for cell in own} == {one["loss"]}
        compared += baseline is not None
    assert 0 < compared < sum(one["loss"] != reference for one, _, _ in found)
