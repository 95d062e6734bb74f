"""The report page, in a browser."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from clce_bench.analysis.verdicts import Finding, Verdict, write_verdicts
from clce_bench.experiment.loading import parse_experiment
from clce_bench.report.page import write_report
from clce_bench.report.page_tables import ROWS, cell_table
from tests.helpers.browser import chromium
from tests.helpers.made_up import EXPERIMENT, change_record, make_up, write_all

FINDINGS = (
    Finding("digits, batch 64: CLCE − CE, test top-1 (%)", 1.25, -0.5, 3.0, 0.2, 3, ()),
    Finding("x", 2.0, None, None, None, 1, ()),
)
VERDICTS = [
    Verdict(
        claim="clce-above-ce",
        statement="CLCE is above CE on every set.",
        paper="CLCE",
        place="abstract",
        verdict=outcome,
        effect=None if outcome == "not tested" else 1.25,
        low=None if outcome == "not tested" else -0.5,
        high=None if outcome == "not tested" else 3.0,
        p=None,
        seeds=3,
        cells=(),
        reason="Because of the interval.",
        findings=() if outcome == "not tested" else FINDINGS,
    )
    for outcome in ("reproduced", "contradicted", "undecided", "not tested")
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page about made-up results: one cell diverged, one never ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        experiment, plan = make_up()
        change_record(plan.grids["main"][0], status="diverged", reason="the loss was nan in epoch 1, step 2")
        (plan.grids["main"][1].directory / "cell.json").unlink()
        write_all(experiment, plan)
        cells = tuple(cell.name for cell in plan.grids["main"] if cell.loss_name != "tcl")
        verdicts = [
            replace(verdict, cells=cells, findings=tuple(replace(one, cells=cells) for one in verdict.findings))
            for verdict in VERDICTS
        ]
        write_verdicts(plan.folder / "verdicts.json", verdicts)
        write_report(experiment, plan.folder / "report.html")
        yield plan.folder.absolute() / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def opened(browser, report):
    """The page, opened once for all tests; whatever it asks for or complains about is kept on it."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.requests, opened.complaints = [], []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.goto(report.as_uri())
    yield opened
    context.close()


@pytest.fixture
def page(opened):
    """The page, as it is opened."""
    yield opened
    opened.set_viewport_size({"width": 1280, "height": 720})
    opened.emulate_media(media="null", color_scheme="null")
    opened.evaluate("scrollTo(0, 0)")


@pytest.fixture
def read_again(opened):
    """For a test that opens or chooses something on the page."""
    yield
    opened.reload()


OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"


def column(page, table, title):
    index = page.locator(f"{table} thead th").all_text_contents().index(title)
    return page.locator(f"{table} tbody tr:visible td:nth-child({index + 1})").all_text_contents()


def test_it_loads_without_an_error_and_asks_for_nothing_else(page, report):
    assert page.complaints == []
    assert {url for url in page.requests if not url.startswith("data:")} == {report.as_uri()}


def test_every_image_is_whole(page):
    images = page.locator("figure img")
    assert images.count() == 4
    images.evaluate_all("images => Promise.all(images.map((image) => image.decode()))")
    assert all(images.evaluate_all("images => images.map((image) => image.complete && image.naturalWidth > 100)"))


@pytest.mark.usefixtures("read_again")
def test_the_answer_comes_first_then_claims_that_open_to_reason_and_cells(page):
    titles = page.locator("main h2").all_text_contents()
    assert titles == [
        *("Differences to cross-entropy", "Before you believe a number", "Claims of the papers", "Figures", "Tables"),
        *("Cells", "How it was made", "For a paper, or for a run of your own"),
    ]
    rows = page.locator(".claims tbody tr")
    assert [rows.nth(n).locator(".verdict").text_content() for n in range(4)] == [v.verdict for v in VERDICTS]
    assert not page.get_by_text("Because of the interval.").first.is_visible()
    rows.first.locator("summary").first.click()
    assert page.get_by_text("Because of the interval.").first.is_visible()
    text = rows.first.text_content()
    for part in ("CLCE is above CE", "abstract", "+1.2 [−0.5, +3.0]", "To train and evaluate these 6 again"):
        assert part in text


def told(page, mark):
    """What a mark says when it is pointed at."""
    mark.hover()
    return page.locator("#told").text_content()


@pytest.mark.usefixtures("read_again")
def test_marks_tell_what_they_stand_for_to_pointer_and_keyboard(page):
    marks = page.locator(".effects [role=img]")
    assert re.fullmatch(
        r"CLCE, λ = 0\.9 minus CE, digits: \+\d\.\d test top-1 \(points\); 3 seeds, 1 test images; "
        r"5 cells: clce_bs64_lam0\.9_s0-\w+, …",
        told(page, marks.first),
    )
    page.locator("h1").hover()
    assert not page.locator("#told").is_visible()
    # One stop of the tabulator for each figure, arrow keys within it.
    assert page.locator(".effects [role=img][tabindex='0']").count() == 1
    marks.first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#told").text_content() == marks.nth(1).get_attribute("aria-label")
    page.keyboard.press("Escape")
    assert not page.locator("#told").is_visible()
    page.locator(".claims summary").first.click()
    finding = told(page, page.locator(".finding [role=img]").first)
    assert finding.startswith(
        "digits, batch 64: CLCE − CE, test top-1 (%): +1.2 [−0.5, +3.0] points; 3 seeds; 6 cells: "
    )


@pytest.mark.usefixtures("read_again")
def test_metrics_and_losses_can_be_chosen(page):
    form = page.locator(".choose").first
    rows = page.locator(".effects tbody tr:not(.group):visible th")
    assert {text.partition(",")[0] for text in rows.all_text_contents()} == {"CE", "CLCE", "TCL"}
    form.get_by_label("TCL").uncheck()
    assert {text.partition(",")[0] for text in rows.all_text_contents()} == {"CE", "CLCE"}
    # The claims have a choice of their own; those without comparisons stay.
    claims = page.locator(".claims tbody tr")
    page.locator(".choose").nth(1).get_by_label("CLCE").uncheck()
    assert [claims.nth(n).is_visible() for n in range(4)] == [False] * 3 + [True]


@pytest.mark.usefixtures("read_again")
def test_a_curve_can_be_explored(page, report):
    drawn = pd.read_csv(report.parent / "figures" / "lambda_curve-lambda.csv")
    select = page.locator(".curve").get_by_role("combobox")
    titles = select.locator("option").all_text_contents()
    # Differences first; a panel for each metric.
    assert titles == [
        f"digits, {quantity}"
        for quantity in (
            *("minus CE, test top-1 (points)", "minus CE, linear-probe test top-1 (points)"),
            *("test top-1 (%)", "linear-probe test top-1 (%)"),
        )
    ]
    select.select_option("digits, linear-probe test top-1 (%)")
    own = drawn[drawn["metric"] == "metric.probe_top1"]
    points = page.locator(".curve [role=img]")
    seen = "all => all.filter((one) => one.checkVisibility() && !one.closest('[hidden]'))"
    shown = points.evaluate_all(f"{seen}.map((one) => one.ariaLabel)")
    expected = {f"{weight:g}: {mean:.1f}" for weight, mean in zip(own["lambda"], own["mean"], strict=True)}
    assert {re.search(r"λ ([\d.]+: [\d.]+)", label)[1] for label in shown} == expected
    assert all("3 seeds; 3 cells: " in label for label in shown)
    # A higher value is drawn higher.
    heights = points.locator(".dot").evaluate_all(f"{seen}.map((one) => one.getBoundingClientRect().y)")
    values = [float(re.search(r"λ [\d.]+: ([\d.]+)", label)[1]) for label in shown]
    assert np.corrcoef(heights, values)[0, 1] < -0.99
    page.locator(".curve").get_by_role("checkbox", name="CLCE").uncheck()
    (left,) = points.evaluate_all(f"{seen}.map((one) => one.ariaLabel)")
    assert left.startswith("CE, λ 0: ")


@pytest.mark.usefixtures("read_again")
def test_a_row_opens_to_its_cells_and_the_command_that_makes_them_again(page, report):
    behind = page.locator(".effects .behind").nth(1)
    behind.locator("summary").click()
    names = behind.locator("li").all_text_contents()
    assert {name.partition("_")[0] for name in names} == {"ce", "clce"}
    command = behind.locator("pre").text_content().split()
    assert command[:2] == [".venv/bin/snakemake", "--configfile"]
    assert report.as_posix().endswith(command[2].replace("experiment.json", "report.html"))
    assert [Path(target).parent.name for target in command[6:]] == names


def test_the_first_screen_asks_and_answers(page):
    question = "Does adding CLCE or TCL to cross-entropy beat cross-entropy alone on digits?"
    assert page.locator("h1").text_content() == question
    answer = page.locator(".answer")
    assert "Of 4 claims: 1 reproduced; 1 contradicted; 1 undecided; 1 not tested." in answer.text_content()
    sentence = "“CLCE is above CE on every set” is reproduced: +1.2 [−0.5, +3.0] points (digits, batch 64: CLCE − CE, "
    assert answer.text_content().startswith(sentence)
    below = page.locator(".effects tbody tr").last.bounding_box()
    assert below["y"] + below["height"] < 800
    # The pictures put each dot where its number is, on one axis.
    dots = page.locator(".effects .dot").evaluate_all("all => all.map((dot) => Number(dot.getAttribute('x1')))")
    numbers = [text for text in page.locator(".effects tbody .number").all_text_contents() if text != "–"]
    zero = float(page.locator(".effects .zero").first.get_attribute("x1"))
    assert len(dots) == len(numbers)
    for dot, number in zip(dots, numbers, strict=True):
        assert (dot > zero) == number.startswith("+")


def test_warnings_name_holes_and_few_seeds(page):
    text = page.locator(".warnings").text_content()
    assert "1 diverged" in text
    assert "1 missing" in text
    assert "main: CE, batch 64, digits: 1 of 3" in text
    assert "Few seeds" in text
    assert "n = 1" in text


@pytest.mark.usefixtures("read_again")
def test_a_column_sorts_both_ways_and_leaves_blanks_last(page):
    table = "#cells ~ details table"
    page.locator("#cells ~ details").first.evaluate("details => { details.open = true; }")
    header = page.locator(f"{table} th", has_text="test top-1 (%)").first
    for direction in (1, -1):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == ("ascending" if direction == 1 else "descending")
        values = column(page, table, "test top-1 (%)")
        numbers = [direction * float(value) for value in values if value != "–"]
        assert numbers == sorted(numbers)
        assert len(numbers) > 10
        assert set(values[len(numbers) :]) == {"–"}


@pytest.mark.usefixtures("read_again")
def test_filters_leave_what_was_asked_for_and_reset(page):
    page.evaluate(OPEN_ALL)
    table = "#cells ~ details table"
    every = column(page, table, "loss")
    page.get_by_label("Loss").select_option("TCL")
    assert set(column(page, table, "loss")) == {"TCL"}
    assert "rows" in page.locator("output").text_content()
    page.get_by_label("Any text").fill("no such thing")
    assert column(page, table, "loss") == []
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("tr[hidden]")).to_have_count(0)
    assert column(page, table, "loss") == every


@pytest.mark.usefixtures("read_again")
def test_a_figure_is_enlarged_and_closed_by_the_keyboard(page):
    page.locator("figure > button").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    assert dialog.locator("img").bounding_box()["width"] > 600
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_links_lead_to_files_that_exist(page, report):
    targets = {link.get_attribute("href") for link in page.locator("a[href]").all()}
    files = [target for target in targets if not target.startswith("#")]
    assert len(files) > 20
    for target in files:
        assert not urlparse(target).scheme
        if not target.startswith("runs.html"):  # Written later, by track.
            assert (report.parent / unquote(target.partition("#")[0])).exists(), target


@pytest.mark.usefixtures("read_again")
def test_axe_finds_no_serious_fault(page):
    page.evaluate(OPEN_ALL)
    # In the dark only colours are others.
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in violations] == [], scheme


@pytest.mark.usefixtures("read_again")
def test_it_fits_every_width(page):
    for opening in ("", OPEN_ALL):
        page.evaluate(opening)
        for width in (360, 390, 768, 1400):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # Differences and effects are on the screen, not beside it.
            for number in page.locator(".effects .number, .claims .number").all():
                box = number.bounding_box()
                assert box is None or box["x"] + box["width"] <= width


@pytest.mark.parametrize(("width", "narrow"), [(390, True), (1400, False)])
def test_phones_get_figures_that_were_drawn_for_them_and_fit(page, width, narrow):
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("[...document.querySelectorAll('figure > button img')].every((image) => image.complete)")
    image = page.locator("figure > button img").first
    box, shown = image.bounding_box(), image.evaluate("image => [image.currentSrc === image.src, image.naturalWidth]")
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert shown[0] is not narrow
    assert (shown[1] < 420) is narrow


def test_contents_stay_in_sight(page):
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert page.locator("nav").bounding_box()["y"] == 0


@pytest.mark.usefixtures("read_again")
def test_paper_gets_what_is_open_and_no_controls(page):
    page.evaluate(OPEN_ALL)
    page.emulate_media(media="print")
    assert page.locator(".claims summary").first.is_visible()
    for hidden in (".filters", "nav", "#experiment", "#cells ~ details", ".names"):
        assert not page.locator(hidden).first.is_visible(), hidden
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    remark, table = (page.locator(name).first.evaluate(size) for name in (".effects .behind", ".effects"))
    assert remark < table < page.locator(".answer").first.evaluate(size)
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4"))) <= 10


def test_dark_figures_are_dark(page):
    page.emulate_media(color_scheme="dark")
    assert "invert" in page.locator("figure img").first.evaluate("image => getComputedStyle(image).filter")
    page.emulate_media(color_scheme="light")
    assert page.locator("figure img").first.evaluate("image => getComputedStyle(image).filter") == "none"


@pytest.mark.usefixtures("read_again")
def test_the_experiment_can_be_copied_and_is_the_same_again(page):
    page.evaluate(OPEN_ALL)
    page.locator(".copied", has=page.locator("#experiment")).get_by_role("button").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert parse_experiment(yaml.safe_load(copied), "copied") == parse_experiment(EXPERIMENT, "made-up")


def test_methods_and_references_name_what_was_run(page):
    text = page.locator("#methods").text_content()
    for part in ("cross-entropy with CLCE, TCL", "digits", "tf_efficientnet_lite0", "torch 2.14.1", "a processor"):
        assert part in text
    assert "batch sizes 16, 64" in text
    references = page.locator("#bibtex").text_content()
    keys = re.findall(r"@\w+\{([\w-]+),", references)
    assert keys == ["clce_bench", "long2024clce", "animesh2025tcl", "data-digits"]
    assert references.count("{") == references.count("}")


def test_five_thousand_cells_leave_the_page_small():
    cell = {"status": "done", "directory": "results/cells/x", "dataset": "digits", "images_per_class": float("nan")}
    cell["label_noise"] = 0.0
    cell |= {"loss": "ce", "reason": "", "metric.top1": 0.5, "train_seconds": 1.0}
    summary = pd.DataFrame([{**cell, "cell": f"cell{n}"} for n in range(5000)])
    summary.loc[4321, "status"] = "failed"
    table = cell_table(summary, Path("results/experiments/x"), Path("results/experiments/x/runs.html"))
    assert (len(table.rows), table.left_out) == (ROWS, 5000 - ROWS)
    assert table.rows[0]["status"] == "failed"
    assert table.rows[0]["MLflow"].target == "runs.html#cell4321"


def test_a_page_without_verdicts_says_so():
    experiment, plan = make_up(grids=EXPERIMENT["grids"][:1], figures=[])
    page = write_all(experiment, plan)
    assert json.loads((plan.folder / "verdicts.json").read_text()) == []
    assert "lists no claims to test" in page
    assert asdict(VERDICTS[0])["claim"] not in page
