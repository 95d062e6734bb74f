import re
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from clce_bench.analysis.summary import write_summary
from clce_bench.analysis.summary_rows import grid_rows
from clce_bench.errors import UserError
from clce_bench.figures.differences import Differences
from clce_bench.figures.render import render
from clce_bench.figures.source import Source
from clce_bench.figures.style import use_style
from clce_bench.files import read_json, write_json
from clce_bench.report.code_and_machines import mixtures
from clce_bench.report.headline import close_run, cost_of_last_run, headline_rows, interval, print_headline
from clce_bench.report.page import write_report
from tests.helpers.made_up import EXPERIMENT, change_record, make_up, write_all


@pytest.fixture(scope="module")
def all_written(tmp_path_factory):
    """Everything that follows evaluation, made once: for tests that only read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("written"))
        experiment, plan = make_up()
        return Path.cwd(), experiment, plan, write_all(experiment, plan)


@pytest.fixture
def written(all_written, monkeypatch):
    """The experiment, its plan and the page, from the folder that they are in."""
    folder, *made = all_written
    monkeypatch.chdir(folder)
    return made


def test_report_shows_headline_figures_tables_and_cells(written, capsys):
    experiment, plan, page = written
    for row in headline_rows(experiment, pd.read_parquet(plan.folder / "summary.parquet")):
        assert all(f"<td>{value}</td>" in page for value in row.values())
    assert page.count("data:image/svg+xml;base64,") == 2 * 4  # Each is there for phones too.
    assert all(cell.name in page for cell in plan.cells)
    # Self-contained: nothing is fetched, and links lead to files beside the page.
    assert not re.search(r'src="(?!data:)', page)
    assert not re.search(r'href="(https?:|/)', page)
    assert "UCI repository" in page
    assert "breaks rules" not in page
    assert "numbers in one table come from different" not in page
    printed_path = print_headline(experiment)
    printed = capsys.readouterr().out
    assert printed_path == plan.folder / "report.html"
    assert "CLCE" in printed
    assert str(printed_path) in printed


def test_report_warns_of_gaps():
    experiment, plan = make_up(grids=EXPERIMENT["grids"][:1], figures=[])
    change_record(plan.grids["main"][0], status="diverged", reason="the loss was nan in epoch 1, step 2")
    page = write_all(experiment, plan)
    assert "Not all cells are done" in page
    assert "the loss was nan in epoch 1, step 2" in page


def test_report_says_what_stands_behind_the_numbers_and_which_tables_mix_it():
    experiment, plan = make_up(figures=[])
    clce, other, tcl = (next(c for c in plan.grids["main"] if c.loss.name == loss) for loss in ("clce", "ce", "tcl"))
    machine = read_json(clce.directory / "cell.json")["environment"]
    change_record(clce, environment=machine | {"packages": {"torch": "2.15.0"}, "git_commit": "f" * 40})
    change_record(other, environment=machine | {"gpu": "A GPU"})
    job = read_json(tcl.directory / "cell.json")["job"]
    accepted = {"reason": "renamed a variable", "who": "ada", "when": "2026-11-20T10:00:00.000+00:00"}
    accepted["codes"] = {"train": {"old": "0123456789abcdef", "new": job["code"]}}
    change_record(tcl, job=job | {"code": "0123456789abcdef"}, accepted=[accepted])
    page = " ".join(write_all(experiment, plan).split())
    mixed = "numbers in one table come from different"
    assert f"<li>main, lambda, sizes: {mixed} versions of torch: 2.14.1, 2.15.0.</li>" in page
    assert f"<li>main, lambda, sizes: {mixed} processors or GPUs: A GPU, a processor.</li>" in page
    assert "training code of CLCE" not in page
    assert re.search(f"<li>main: {mixed} training code of TCL: 01234567, \\w{{8}}.</li>", page)
    for text in ("A GPU; Test", "Python 3.11.0, torch 2.15.0", "<td>ffffffffffff</td>", "TCL 01234567"):
        assert text in page
    assert "<td>renamed a variable (ada, 2026-11-20)</td>" in page
    assert "declared to give the same results: 1 × renamed a variable (ada, 2026-11-20)." in page
    summary = pd.read_csv(plan.folder / "summary.csv")
    row = summary[summary["cell"] == tcl.name].iloc[0]
    assert (row["code"], row["git_commit"], row["torch"]) == ("0123456789abcdef", "abc", "2.14.1")


def test_other_code_behind_one_loss_is_a_mixture():
    experiment, plan = make_up(figures=[])
    write_summary(experiment, plan.folder)
    summary = pd.read_parquet(plan.folder / "summary.parquet")
    assert mixtures(summary, ["main", "lambda"]) == []
    changed = summary["cell"] == next(cell.name for cell in plan.grids["main"] if cell.loss.name == "clce")
    summary.loc[changed, "code"] = "other"
    (warning,) = mixtures(summary, ["main"])
    assert re.fullmatch(
        r"main: numbers in one table come from different training code of CLCE: \w{8}, other\.",
        warning,
    )


def test_a_page_without_tables_beside_it_is_refused(tmp_path):
    experiment, _ = make_up(figures=[])
    with pytest.raises(UserError, match="First: clce-bench summarize --experiment FILE --output"):
        write_report(experiment, tmp_path / "elsewhere" / "report.html")


def test_report_says_what_was_left_out_and_how_images_are_divided():
    experiment, plan = make_up(grids=EXPERIMENT["grids"][:1], figures=[])
    write_all(experiment, plan)
    job = plan.jobs["train"][plan.cells[0].key]
    for name, changes in (
        ("dataset", {"skipped": [{"id": f"bad-{number}", "reason": "truncated"} for number in range(4)]}),
        ("splits", {"near_copies_of_test": 7}),
    ):
        write_json(Path(job.inputs[name]), read_json(Path(job.inputs[name])) | changes)
    write_report(experiment, plan.folder / "report.html")
    page = " ".join((plan.folder / "report.html").read_text().split())
    assert "Left out, since damaged: 4 images (bad-0, bad-1, bad-2, …)." in page
    assert "7 training images have a near-copy in the official test part." in page
    assert "Images: 1346 for training, of which each of 5 folds of 269 to 270 can validate, 451 test" in page


def test_figures_are_images_with_the_same_bytes_each_time(written, tmp_path):
    _, plan, _ = written
    name, figure = next(iter(plan.jobs["figures"].items()))
    render({"spec": figure.spec, "inputs": figure.inputs}, tmp_path / f"{name}.svg")
    for ending in ("svg", "png", "pdf", "narrow.svg"):
        again, first = (folder / f"{name}.{ending}" for folder in (tmp_path, plan.folder / "figures"))
        assert again.read_bytes() == first.read_bytes(), ending
    assert matplotlib.image.imread(tmp_path / f"{name}.png").std() > 0.01


def test_a_figure_without_results_says_so(tmp_path):
    experiment, plan = make_up()
    for cell in plan.cells:
        (cell.directory / "metrics.json").unlink()
    write_summary(experiment, plan.folder)
    for figure in plan.jobs["figures"].values():
        render({"spec": figure.spec, "inputs": figure.inputs}, tmp_path / "x.svg")
        assert (tmp_path / "x.png").stat().st_size > 1000


def test_differences_have_a_row_per_setting_even_where_a_metric_lacks_it(written):
    _, plan, _ = written
    rows = grid_rows(pd.read_parquet(plan.folder / "summary.parquet"), "lambda")
    use_style()
    figure = Differences(kind="differences", grid="lambda").draw(Source(rows, pd.DataFrame())).canvas
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ", batch 64:" in figure.get_suptitle()
    assert labels == [f"CLCE, λ = {weight}" for weight in ("0.5", "0.9", "1")]
    # The classifier has no point at λ = 1, the probe has: drawn at the same heights in both panels.
    heights = [sorted({float(y) for bar in axes.containers for y in bar[0].get_ydata()}) for axes in figure.axes]
    assert heights == [[0, 1], [0, 1, 2]]


def test_where_the_contrastive_loss_is_alone_headline_and_differences_show_the_probe():
    alone = {"name": "alone", "dataset": "digits", "loss": ["ce", "tcl"], "lambda": 1, "seed": [0, 1]}
    figures = [{"kind": "differences", "grid": name} for name in ("alone", "fused")]
    experiment, plan = make_up(grids=[alone, {**alone, "name": "fused", "lambda": 0.9}], figures=figures)
    write_summary(experiment, plan.folder)
    summary = pd.read_parquet(plan.folder / "summary.parquet")
    rows = headline_rows(experiment, summary)
    assert [(row["loss"], row["metric"]) for row in rows] == [
        (loss, "linear-probe test top-1 (%)") for loss in ("CE", "TCL")
    ]
    assert all(row["seeds"] == "2" for row in rows)
    assert {row["metric"] for row in headline_rows(experiment.model_copy(update={"headline": "fused"}), summary)} == {
        "test top-1 (%)"
    }
    use_style()
    for figure, titles in zip(experiment.figures, (["linear-probe test"], ["test", "linear-probe test"]), strict=True):
        canvas = figure.draw(Source(grid_rows(summary, figure.grid[0]), pd.DataFrame())).canvas
        assert [axes.get_title() for axes in canvas.axes] == [f"{title} top-1 (points)" for title in titles]


def test_cost_is_kept_after_the_run_and_by_runs_that_train_nothing():
    _, plan = make_up()
    assert cost_of_last_run(plan) is None
    write_json(plan.folder / "run.json", {"started": "2026-01-01T00:00:00.000+00:00", "cores": 2})
    running = cost_of_last_run(plan)
    assert (running.cells, running.cores) == (len(plan.cells), 2)
    assert running.inside == pytest.approx(4.0 * len(plan.cells))
    close_run(plan)
    closed = cost_of_last_run(plan)
    plan.mark_start(4)
    assert cost_of_last_run(plan) == closed
    close_run(plan)
    assert cost_of_last_run(plan) == closed


def test_headline_before_any_run_says_what_to_do():
    experiment, _ = make_up()
    with pytest.raises(UserError, match="run the experiment first: make reproduce"):
        print_headline(experiment)


def test_intervals_read_well():
    nan = float("nan")
    assert interval(1.26, 0.2, 2.4, signed=True) == "+1.3 [+0.2, +2.4]"
    assert interval(57.123, 56, 58) == "57.1 [56.0, 58.0]"
    assert interval(57.123, nan, nan) == "57.1"
    assert interval(nan, nan, nan) == "–"
