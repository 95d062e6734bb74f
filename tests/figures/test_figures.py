"""Figures: what they show, against independent references; what they refuse; what they write."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from clce_bench.analysis.summary import write_summary
from clce_bench.errors import UserError
from clce_bench.experiment.figure_options import figure_of
from clce_bench.experiment.loading import load_experiment, parse_experiment
from clce_bench.figures.cosine_distributions import _similarities
from clce_bench.figures.critical_difference import cliques, rank
from clce_bench.figures.gradient_magnitudes import magnitudes
from clce_bench.figures.render import render
from clce_bench.figures.source import Source
from clce_bench.figures.style import loss_style, panel_title
from clce_bench.figures.tsne import maps
from clce_bench.planning.figure_cells import embedded_cells
from clce_bench.planning.plan import plan_of
from clce_bench.report.curve import explored_curve
from tests.helpers.made_up import change_record, leave_out_pictures, make_up, prepare

GRIDS = [
    {"name": "main", "dataset": "digits", "loss": ["ce", "clce", "tcl"], "lambda": 0.9, "seed": [0, 1, 2]},
    {"name": "lambda", "dataset": "digits", "loss": "clce", "lambda": [0, 0.5, 0.9, 1], "seed": [0, 1, 2]},
    {"name": "sizes", "dataset": "digits", "loss": ["ce", "clce"], "batch_size": [16, 64], "seed": [0, 1, 2]},
    {"name": "k1", "dataset": "digits", "loss": ["ce", "supcon", {"name": "tcl", "k1": [10, 5000]}], "seed": [0, 1]},
    {"name": "drawings", "dataset": "openmoji", "loss": ["ce", "clce", "tcl"], "lambda": 0.9, "seed": [0, 1, 2]},
    {"name": "lonely", "dataset": "digits", "loss": "clce", "batch_size": 32},
]
FIGURES = [
    {"kind": "lambda_curve", "grid": "lambda"},
    {"kind": "batch_size_curve", "grid": "sizes"},
    {"kind": "axis_curve", "grid": "k1"},
    {"kind": "training_curve", "grid": "main"},
    {"kind": "accuracy_cost", "grid": "main"},
    {"kind": "differences", "grid": "main"},
    {"kind": "difference_matrix", "grid": "main"},
    {"kind": "critical_difference", "grid": ["main", "drawings"]},
    {"kind": "cosine_distributions", "grid": "main", "classes": ["3", "8"]},
    {"kind": "tsne", "grid": "main", "where": {"loss": ["ce", "clce"]}},
    {"kind": "gradient_magnitudes", "grid": "k1"},
]


def embed(plan):
    """Gives cells of digits embeddings that know their class."""
    prepare(plan)
    inputs = next(job.inputs for key, job in plan.jobs["train"].items() if key.startswith("digits"))
    items = pd.read_parquet(Path(inputs["dataset"]).parent / "items.parquet")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 8))
    for cell in plan.cells:
        features = centres[items["label"]] + rng.normal(size=(len(items), 8)) * (1.5 - cell.contrastive_weight)
        path = cell.directory / "embeddings.npz"
        np.savez(path, rows=np.arange(len(items)), features=features.astype(np.float16))
        head = {
            f"projection.{layer}.{name}": values
            for layer, size in ((0, 8), (2, cell.recipe.projection_size))
            for name, values in (("weight", np.eye(size, 8)), ("bias", np.arange(size) < 8))
        }
        head = {name: values.astype(np.float32) for name, values in head.items()}
        save_file(head, cell.directory / "model.safetensors")
    return items


def draw(plan, name):
    job = plan.jobs["figures"][name]
    output = Path("figures", f"{name}.svg")
    render({"spec": job.spec, "inputs": job.inputs}, output)
    return output, pd.read_csv(output.with_suffix(".csv")), output.with_suffix(".txt").read_text()


@pytest.fixture(autouse=True)
def unwritten(monkeypatch):
    leave_out_pictures(monkeypatch)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The plan, the summary, a function that draws a figure by its name, and the items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("figures"))
        experiment, plan = make_up(grids=GRIDS, figures=FIGURES)
        items = embed(plan)
        write_summary(experiment, plan.folder)
        summary, root = pd.read_parquet(plan.folder / "summary.parquet"), Path.cwd()

    def show(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            output, *rest = draw(plan, name)
            return root / output, *rest

    return plan, summary, show, items


CURVES = ["lambda_curve-lambda", "batch_size_curve-sizes", "axis_curve-k1", "training_curve-main"]


@pytest.mark.parametrize("name", CURVES)
def test_the_page_can_explore_each_curve(drawn, name):
    plan, summary, show, _ = drawn
    output, data, _ = show(name)
    explored = explored_curve([figure_of(plan.jobs["figures"][name].spec)], output.parent, summary)
    points = sum(panel.picture.count('role="img"') for panel in explored.panels if " minus " not in f" {panel.title}")
    assert points == data["mean"].notna().sum() > 0


def test_shares_of_wrong_labels_have_panels_of_their_own(drawn):
    grid = {"name": "noise", "dataset": "digits", "loss": ["ce", "clce"], "label_noise": [0, 0.2], "seed": [0, 1]}
    kinds = ("training_curve", "accuracy_cost", "differences")
    experiment, plan = make_up(grids=[grid], figures=[{"kind": kind, "grid": "noise"} for kind in kinds])
    write_summary(experiment, plan.folder)
    _, data, _ = draw(plan, "training_curve-noise")
    assert data.groupby("label_noise")["n"].unique().map(list).to_dict() == {0: [2], 0.2: [2]}
    _, _, caption = draw(plan, "accuracy_cost-noise")
    assert "digits, 0, 20 % wrong labels" in caption
    rows = pd.read_parquet(plan.folder / "summary.parquet")
    titles = [panel_title(group, rows) for _, group in rows.groupby("label_noise")]
    assert titles == ["digits, batch 64", "digits, 20 % wrong labels, batch 64"]


def test_curves_show_the_means_over_seeds(drawn):
    _, summary, show, _ = drawn
    _, data, _ = show("lambda_curve-lambda")
    own = summary[[("lambda" in grids.split()) for grids in summary["grids"]]]
    for weight, group in own.groupby("lambda"):
        row = data[(data["lambda"] == weight) & (data["metric"] == "metric.probe_top1")]
        assert row["mean"].item() == pytest.approx(100 * group["metric.probe_top1"].mean())
    difference = data[(data["lambda"] == 0.9) & (data["metric"] == "metric.top1")]["difference"].item()
    clce, ce = (own[own["lambda"] == weight].set_index("seed")["metric.top1"] for weight in (0.9, 0))
    assert difference == pytest.approx(100 * (clce - ce).mean())


def test_a_curve_shows_differences_first_and_each_loss_in_a_panel_of_one_scale(drawn):
    plan, summary, *_ = drawn
    figure = figure_of(plan.jobs["figures"]["axis_curve-k1"].spec)
    rows = summary[["k1" in grids.split() for grids in summary["grids"]]]
    canvas = figure.draw(Source(rows, pd.DataFrame())).canvas
    top1, probe = canvas.axes[:3], canvas.axes[3:]
    titles = ["test top-1 (points)", "SupCon", "TCL", "linear-probe test top-1 (points)", "SupCon", "TCL"]
    assert [axes.get_title() for axes in canvas.axes] == titles
    for gain, *small in (top1, probe):
        assert gain.get_position().x1 < small[0].get_position().x0
        assert len({axes.get_ylim() for axes in small}) == 1
        for axes in small:
            told = [text for text in axes.get_legend_handles_labels()[1] if text != "CE"]
            assert [text.partition(",")[0] for text in told] == [axes.get_title()]
    (legend,) = canvas.legends
    assert [text.get_text().partition(",")[0] for text in legend.get_texts()] == ["CE", "SupCon", "TCL"]


def test_a_curve_has_no_panel_without_data(drawn):
    plan, summary, *_ = drawn
    figure = figure_of(plan.jobs["figures"]["axis_curve-k1"].spec)
    rows = summary[["k1" in grids.split() for grids in summary["grids"]]]
    # One data set lacks the classifier's accuracy, another cross-entropy.
    probed = rows.assign(dataset="other", **{"metric.top1": np.nan})
    alone = rows[rows["loss"] == "tcl"].assign(dataset="third")
    canvas = figure.draw(Source(pd.concat([rows, probed, alone]), pd.DataFrame())).canvas
    titles = [axes.get_title() for axes in canvas.axes]
    assert sum("(points)" in title for title in titles) == 3
    assert titles.count("TCL") == 5
    assert titles.count("SupCon") == 3
    assert all(axes.lines or axes.containers for axes in canvas.axes)
    assert (
        len({axes.get_ylim() for axes in canvas.axes if axes.get_title().endswith("linear-probe test top-1 (points)")})
        == 1
    )


def test_losses_have_one_order_everywhere():
    names = ["tcl", "clce", "my_loss:Own", "ce", "supcon-images", "schane"]
    assert list(loss_style(names)) == ["ce", "supcon-images", "schane", "clce", "tcl", "my_loss:Own"]


def test_losses_without_the_axis_are_level_lines(drawn):
    _, _, show, _ = drawn
    _, data, _ = show("axis_curve-k1")
    assert sorted(data["loss.k1"].unique()) == [10, 5000]
    level = data.groupby("loss")["level"].first().to_dict()
    assert level == {"ce": True, "supcon": True, "tcl": False}
    supcon = data[(data["loss"] == "supcon") & (data["metric"] == "metric.top1")]
    assert supcon["mean"].nunique() == 1


def test_figures_of_embeddings_take_one_cell_per_setting_and_name_them_as_inputs(drawn):
    plan, *_ = drawn
    inputs = plan.jobs["figures"]["tsne-main"].inputs
    cells = [Path(path).parent.name for name, path in inputs.items() if name.startswith("embeddings_")]
    assert [name.split("_")[0] for name in cells] == ["ce", "clce"]
    assert all("_s0-" in name for name in cells)
    assert {"summary", "dataset", "splits"} < set(inputs)
    for job in plan.jobs["figures"].values():
        drawn_from_embeddings = job.spec["kind"] in ("cosine_distributions", "gradient_magnitudes", "tsne")
        assert ("dataset" in job.inputs) == drawn_from_embeddings


def test_gradients_are_those_of_tcl_at_its_defaults_and_the_caption_says_so(drawn):
    plan, _, show, _ = drawn
    inputs = plan.jobs["figures"]["gradient_magnitudes-k1"].inputs
    shown = [Path(path).parent.name for name, path in inputs.items() if name.startswith("embeddings_")]
    cells = {cell.name: cell for cell in plan.cells}
    (tcl,) = (cells[name] for name in shown if cells[name].loss.name == "tcl")
    assert (tcl.loss.hyperparameters["k1"], tcl.loss.hyperparameters["k2"]) == (5000, 1)
    assert "TCL, λ = 0.9, temperature 0.1, k1 5000, k2 1, seed 0" in show("gradient_magnitudes-k1")[2]
    # Whichever names come first, and whatever else is swept.
    members = plan.grids["k1"]
    assert [embedded_cells(order) for order in (members, members[::-1])] == [embedded_cells(members)] * 2
    others = [cell for cell in members if cell.loss.hyperparameters.get("k1") != 5000]
    assert [cell.loss.hyperparameters.get("k1") for cell in embedded_cells(others)] == [None, None, 10]


def test_cosine_distributions_are_densities_of_all_pairs(drawn):
    _, _, show, _ = drawn
    _, data, _ = show("cosine_distributions-main")
    assert set(data["class"].astype(str)) == {"3", "8"}
    area = data.groupby(["cell", "class", "pairs"])[["density", "low", "high"]].apply(
        lambda bins: (bins["density"] * (bins["high"] - bins["low"])).sum()
    )
    assert np.allclose(area, 1)
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(7, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    members = np.array([True, False, True, True, False, False, True])
    found_pairs = _similarities(unit, members)
    loop = {"positives": [], "negatives": []}
    for i in range(7):
        for j in range(7):
            if members[i] and members[j] and i < j:
                loop["positives"].append(unit[i] @ unit[j])
            if members[i] and not members[j]:
                loop["negatives"].append(unit[i] @ unit[j])
    for side, values in loop.items():
        assert np.allclose(sorted(found_pairs[side]), sorted(values))


def test_tsne_starts_every_network_alike():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    one, other, same = maps([features, rng.normal(size=(40, 6)).astype(np.float32), 2 * features])
    assert np.array_equal(one, same)  # Lengths do not count, and powers of two do not round.
    assert not np.allclose(one, other, atol=1)


def test_gradient_magnitudes_match_finite_differences():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(6, 4)).astype(np.float32)
    classes = np.array(["a", "a", "a", "b", "b", "b"])
    tau, k1, k2, step = 0.5, 10.0, 3.0, 1e-5
    unit = z.astype(float) / np.linalg.norm(z.astype(float), axis=1, keepdims=True)
    s = unit @ unit.T

    def loss(row, i):
        positives = [j for j in range(6) if j != i and classes[j] == classes[i]]
        negatives = [j for j in range(6) if classes[j] != classes[i]]
        denominator = sum(np.exp(row[p] / tau) + k1 * np.exp(-row[p]) for p in positives)
        denominator += k2 * sum(np.exp(row[n] / tau) for n in negatives)
        return -np.mean([np.log(np.exp(row[p] / tau) / denominator) for p in positives])

    slopes = {True: [], False: []}
    for i in range(6):
        for j in range(6):
            if i != j:
                up, down = s[i].copy(), s[i].copy()
                up[j] += step
                down[j] -= step
                slopes[bool(classes[i] == classes[j])].append(abs(loss(up, i) - loss(down, i)) / (2 * step))
    table = magnitudes(z, classes, tau, [0, k1], [1, k2]).set_index(["loss", "loss.k1", "loss.k2"])
    row = table.loc[("tcl", k1, k2)]
    assert row["positives"] == pytest.approx(np.mean(slopes[True]), rel=1e-3)
    assert row["negatives"] == pytest.approx(np.mean(slopes[False]), rel=1e-3)
    supcon = table.loc["supcon"].iloc[0]
    assert table.loc[("tcl", 0, 1), "positives"] == pytest.approx(supcon["positives"], rel=1e-5)


def test_ranks_and_critical_difference_agree_with_published_tables():
    # Demšar 2006, table 5: q at 5 % is 2.728 for five classifiers.
    rng = np.random.default_rng(3)
    found = rank(pd.DataFrame(rng.random((5, 30)), index=list("abcde")))
    assert found.critical == pytest.approx(2.728 * (5 * 6 / (6 * 30)) ** 0.5, abs=2e-3)
    table = pd.DataFrame({"x": [0.9, 0.8, 0.8], "y": [0.5, 0.7, 0.1], "z": [3, 2, 1]}, index=["a", "b", "c"])
    ranks = rank(table).ranks
    assert ranks.to_dict() == pytest.approx({"a": 4 / 3, "b": 5.5 / 3, "c": 8.5 / 3})
    assert rank(pd.DataFrame(np.ones((3, 4)))).p == 1.0


def test_bars_join_what_cannot_be_told_apart():
    assert cliques([1.0, 1.5, 2.4, 4.0, 4.1], 1.0) == [(0, 1), (1, 2), (3, 4)]
    assert cliques([1.0, 2.0, 3.0], 5.0) == [(0, 2)]
    assert cliques([1.0, 3.0], 1.0) == []


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"kind": "lambda_curve", "grid": "main", "where": {"loss": "ce"}}, "needs at least two values of λ"),
        ({"kind": "batch_size_curve", "grid": "main"}, "needs at least two batch sizes"),
        ({"kind": "axis_curve", "grid": "main"}, "axis: say which. What varies: nothing"),
        ({"kind": "axis_curve", "grid": "k1", "axis": "loss.k2"}, "'loss.k2' does not vary. What varies: loss.k1"),
        ({"kind": "differences", "grid": "lonely"}, "needs cross-entropy and another loss"),
        ({"kind": "difference_matrix", "grid": "lonely"}, "needs at least two losses"),
        ({"kind": "tsne", "grid": "lonely"}, "needs cross-entropy and another loss on one data set"),
        ({"kind": "critical_difference", "grid": "main"}, "needs at least two data sets and three losses"),
        ({"kind": "gradient_magnitudes", "grid": "main", "where": {"loss": "ce"}}, "needs a cell with a contrastive"),
        ({"kind": "tsne", "grid": "main", "where": {"lose": "ce"}}, "Did you mean 'loss'"),
        (
            {"kind": "tsne", "grid": "main", "where": {"loss": "hcl"}},
            "where.loss: no cell has 'hcl'. Allowed: ce, clce",
        ),
        ({"kind": "tsne", "grid": "man"}, "'man' is not a grid. Did you mean 'main'"),
        (
            {"kind": "tsne", "grid": "main", "k1": [1]},
            "k1: tsne has no such option. It belongs to: gradient_magnitudes",
        ),
        ({"kind": "difference_matrix", "grid": "main", "metrics": ["top1", "ece"]}, "difference_matrix shows one"),
        ({"kind": "tsn", "grid": "main"}, "figures[0]: kind: 'tsn' is not a figure. Did you mean 'tsne'?"),
        ({"kind": ["tsne"], "grid": "main"}, "figures[0].kind: ['tsne'] is not allowed"),
        ({"grid": "main"}, "figures[0].kind: this key is required"),
        ({"kind": "gradient_magnitudes", "grid": "main", "k1": [-1]}, "figures[0].k1[0]: -1 is not allowed"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_when_the_file_is_read(figure, message):
    with pytest.raises(UserError) as caught:
        plan_of(parse_experiment({"name": "test", "grids": GRIDS, "figures": [figure]}, "test.yaml"))
    assert message in str(caught.value)


def test_two_figures_need_two_names():
    figures = [{"kind": "tsne", "grid": "main"}, {"kind": "tsne", "grid": "main", "classes": ["1"]}]
    with pytest.raises(UserError, match="two figures are called 'tsne-main'"):
        parse_experiment({"name": "test", "grids": GRIDS, "figures": figures}, "test.yaml")
    figures[1]["name"] = "ones"
    assert len(plan_of(parse_experiment({"name": "test", "grids": GRIDS, "figures": figures}, "")).jobs["figures"]) == 2


def test_options_survive_the_way_through_the_written_experiment(tmp_path):
    experiment = parse_experiment({"name": "test", "grids": GRIDS, "figures": FIGURES}, "")
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(experiment.model_dump(by_alias=True)))
    assert load_experiment(path).figures == experiment.figures


def test_where_leaves_cross_entropy_whatever_is_said_of_lambda():
    figure = {"kind": "differences", "grid": ["main", "lambda"], "where": {"lambda": 0.5}}
    experiment, plan = make_up(grids=GRIDS[:2], figures=[figure])
    write_summary(experiment, plan.folder)
    _, data, _ = draw(plan, "differences-main-lambda")
    assert set(data["lambda"]) == {0.5}
    assert data["difference"].notna().all()


def test_a_class_that_does_not_exist_is_named_on_the_figure():
    figure = {"kind": "cosine_distributions", "grid": "main", "classes": ["3", "tulip"]}
    experiment, plan = make_up(grids=GRIDS[:1], figures=[figure])
    embed(plan)
    write_summary(experiment, plan.folder)
    _, data, caption = draw(plan, "cosine_distributions-main")
    assert "'tulip' is not a class of the test part" in caption
    assert set(data["class"].astype(str)) == {"3"}


def test_embeddings_that_are_not_finite_are_said_to_be():
    experiment, plan = make_up(grids=GRIDS[3:4], figures=[{"kind": "gradient_magnitudes", "grid": "k1"}])
    embed(plan)
    for cell in plan.cells:
        with np.load(cell.directory / "embeddings.npz") as arrays:
            rows = arrays["rows"]
        np.savez(cell.directory / "embeddings.npz", rows=rows, features=np.full((len(rows), 8), np.nan))
    change_record(plan.cells[0], status="diverged", reason="nan")
    write_summary(experiment, plan.folder)
    _, data, caption = draw(plan, "gradient_magnitudes-k1")
    assert data["reason"].item() == "No cell with a contrastive loss has finite embeddings."
    assert caption.strip() == data["reason"].item()


def test_a_metric_that_no_cell_has_is_said_to_be_missing():
    experiment, plan = make_up(grids=GRIDS[:1], figures=[{"kind": "differences", "grid": "main", "metrics": ["top7"]}])
    write_summary(experiment, plan.folder)
    _, data, _ = draw(plan, "differences-main")
    assert "top7" in data["reason"].item()


def test_job_of_a_figure_changes_with_its_cells_only():
    def job(grids):
        figures = [{"kind": "tsne", "grid": "main"}]
        return plan_of(parse_experiment({"name": "t", "grids": grids, "figures": figures}, "")).jobs["figures"][
            "tsne-main"
        ]

    cells = {cell.key for cell in plan_of(parse_experiment({"name": "t", "grids": GRIDS}, "")).grids["main"]}
    assert all(
        path.split("results/cells/")[1].rpartition("/")[0] in cells
        for name, path in job(GRIDS).inputs.items()
        if name.startswith("embeddings_")
    )
    assert job(GRIDS).param == job(GRIDS[:1]).param
    assert job([{**GRIDS[0], "batch_size": 32}]).param != job(GRIDS).param
