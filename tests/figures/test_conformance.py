"""What every kind of figure must do, of the package or of one's own."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from clce_bench.analysis.summary import write_summary
from clce_bench.components.registry import FIGURES, load_figure
from clce_bench.errors import UserError
from clce_bench.experiment.figure_options import Figure
from clce_bench.experiment.loading import parse_experiment
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.planning.plan import plan_of
from tests.figures.test_figures import GRIDS, draw, embed
from tests.helpers.made_up import make_up
from tests.helpers.miniature import ROOT

BROKEN = {**GRIDS[0], "name": "broken", "hazards": "same-crop"}
OWN = "own_figure:SeedScatter"
GRID = {
    "lambda_curve": "lambda",
    "batch_size_curve": "sizes",
    "axis_curve": "k1",
    "gradient_magnitudes": "k1",
    "critical_difference": ["main", "drawings"],
    "audit": ["main", "broken"],
    "rank_change": ["main", "sizes"],
    "tuning_budget": "k1",
}
"""Grids that a kind can show; ``main`` suits the rest."""
KINDS = [*FIGURES, OWN]
OWN_FIGURE = '''
from clce_bench.figures import Drawing, MetricFigure


class SeedScatter(MetricFigure):
    """Accuracy by seed."""

    size: int = 5

    def lacking(self, cells):
        return "" if len({cell.seed for cell in cells}) > 1 else "it needs two seeds."

    def draw(self, source):
        import matplotlib.pyplot as plt

        canvas, axes = plt.subplots()
        metric = self.columns(source.rows)[0]
        axes.scatter(source.rows["seed"], source.rows[metric], s=self.size)
        return Drawing(canvas, source.rows[["seed", metric]], f"Accuracy by seed, {source.seeds} of each setting.")
'''


def figure(kind):
    values = {"kind": kind, "grid": GRID.get(kind, "main"), "name": kind.replace(":", "-")}
    # A panel for each metric takes its time to write, and they are all alike.
    return values | ({"metrics": ["top1"]} if kind in FIGURES and issubclass(load_figure(kind), MetricFigure) else {})


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """A folder with a figure of one's own, in which Python looks for modules."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_figure.py").write_text(OWN_FIGURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    sys.modules.pop("own_figure", None)


@pytest.fixture(scope="module")
def plan(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment, made = make_up(grids=[*GRIDS, BROKEN], figures=[figure(kind) for kind in KINDS])
        embed(made)
        write_summary(experiment, made.folder)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_what_readers_and_programs_need(kind, plan, folder, monkeypatch):
    monkeypatch.chdir(folder)
    name = figure(kind)["name"]
    svg, data, caption = draw(plan, name)
    assert all(svg.with_suffix(ending).stat().st_size > 5000 for ending in (".svg", ".png", ".pdf"))
    assert svg.read_text(encoding="utf-8").rstrip().endswith("</svg>")
    assert svg.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert matplotlib.image.imread(svg.with_suffix(".png")).std() > 0.01
    assert len(data)
    assert "reason" not in data
    assert caption.strip().endswith(".")
    assert len(caption) > 30
    cells = svg.with_suffix(".cells.txt").read_text().split()
    summary, grids = pd.read_parquet(plan.folder / "summary.parquet"), set(plan.jobs["figures"][name].spec["grid"])
    shown = [bool(grids & set(own.split())) for own in summary["grids"]]
    assert sorted(cells) == sorted(summary.loc[shown, "directory"])
    assert all(Path(directory, "cell.json").exists() for directory in cells)
    text = plan.folder / "tables" / f"{name}.csv"
    assert text.exists() == load_figure(kind).tabled
    assert not text.exists() or len(pd.read_csv(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grdi": 1}, "'grdi' is not a key. Did you mean 'grid'?"),
        ({"grid": []}, "[0].grid: [] is not allowed"),
        ({"grid": "mian"}, "'mian' is not a grid. Did you mean 'main'"),
        ({"where": {"seed": 99}}, "where.seed: no cell has 99. Allowed: 0, 1"),
        ({"name": "a/b"}, "[0].name: 'a/b' is not allowed"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_get_one_message(kind, change, message):
    values = {**figure(kind), **change}
    if kind == "rank_change" and isinstance(values["grid"], str):
        values["grid"] = [values["grid"], "main"]
    with pytest.raises(UserError) as caught:
        plan_of(parse_experiment({"name": "t", "grids": [*GRIDS, BROKEN], "figures": [values]}, "t.yaml"))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_it_is_and_refuses_options_of_others(kind):
    found = load_figure(kind)
    assert issubclass(found, Figure)
    assert found.__doc__
    foreign = next(key for key in ("axis", "k1", "classes") if key not in found.model_fields)
    with pytest.raises(UserError, match=f"{foreign}: {kind} has no such option. It belongs to: "):
        parse_experiment({"name": "t", "grids": GRIDS, "figures": [{**figure(kind), foreign: ["x"]}]}, "t.yaml")


def test_every_file_of_the_folder_that_draws_is_registered():
    named = {path.partition(":")[0].rpartition(".")[2] for path in FIGURES.values()}
    drawing = {path.stem for path in (ROOT / "clce_bench" / "figures").glob("*.py") if "def draw(" in path.read_text()}
    assert named == drawing


def test_kinds_are_read_without_what_draws_them():
    code = (
        "import sys\n"
        "from clce_bench.components.registry import FIGURES, load_figure\n"
        "for kind in FIGURES: load_figure(kind)\n"
        "print([name for name in ('matplotlib', 'pandas', 'scipy', 'sklearn', 'torch') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert printed.stdout.strip() == "[]", printed.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:X", "kind: no_such_module: there is no such Python module"),
        ("own_figure:Seed", "kind: own_figure:Seed: there is no figure called 'Seed' in"),
        ("json:loads", "kind: json:loads is no subclass of clce_bench.figures.Figure."),
    ],
)
def test_a_figure_of_ones_own_that_is_none_is_refused(name, message):
    with pytest.raises(UserError) as caught:
        parse_experiment({"name": "t", "grids": GRIDS, "figures": [{"kind": name, "grid": "main"}]}, "t.yaml")
    assert message in str(caught.value)


def test_a_figure_of_ones_own_is_called_by_its_class_and_drawn_again_when_its_file_changes(folder):
    def job():
        experiment = parse_experiment({"name": "t", "grids": GRIDS, "figures": [{"kind": OWN, "grid": "main"}]}, "t")
        return plan_of(experiment).jobs["figures"]["SeedScatter-main"]

    from clce_bench.records import fingerprints

    before = job().code
    (folder / "own_figure.py").write_text(OWN_FIGURE.replace("size: int = 5", "size: int = 7"))
    for cached in (fingerprints.fingerprint, fingerprints._closure, fingerprints._tree_hash):
        cached.cache_clear()
    assert job().code != before
