"""Code of one's own that fails when it is imported: one message and status 2, from `plan` or before anything trains."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from clce_bench.cli import command_status
from clce_bench.components.registry import source_file
from clce_bench.errors import UserError
from clce_bench.experiment.cells import union
from clce_bench.experiment.expansion import cells_of
from clce_bench.experiment.loading import parse_experiment
from tests.helpers.jobs import BACKBONE, job_of

LOSS = "import torch\nclass Mine(torch.nn.Module):\n    def forward(self, embeddings, labels):\n        return 0\n"
SEEN_BY_PLAN = {
    "syntax": (f"{LOSS}def (\n", "line 5: not Python"),
    "indentation": (LOSS.replace("    def", "def"), "line 3: not Python"),
    "a null byte": ("x = 1\0", "own.py: not Python: source code string cannot contain null bytes"),
    "Latin-1": (f"# \udce9\n{LOSS}", "not Python: 'utf-8' codec can't decode byte 0xe9"),
    "no class": ("def Mine(): pass\n", "'Mine' is not a class in "),
}
SEEN_BEFORE_TRAINING = {
    "an exception": (f"raise RuntimeError('no licence')\n{LOSS}", "own: importing it failed: RuntimeError: no licence"),
    "an exit": (f"import sys\nsys.exit(0)\n{LOSS}", "own: importing it failed: SystemExit: 0"),
    "no exception at all": (f"class E(BaseException): pass\nraise E\n{LOSS}", "own: importing it failed: E: "),
    "a circle": (f"import own_helper\n{LOSS}", "cannot import name 'Mine' from partially initialized module 'own'"),
    "itself": ("class Mine(Mine): pass\n", "own: importing it failed: NameError: name 'Mine' is not defined"),
    "a helper": (f"import own_broken\n{LOSS}", "own: importing it failed: SyntaxError: invalid syntax"),
    "a package": (f"import no_such_package\n{LOSS}", "ModuleNotFoundError: No module named 'no_such_package'"),
    "no end": (f"def f(): f()\nf()\n{LOSS}", "RecursionError"),
}
EXPERIMENT = {
    "name": "x",
    "backbone": {**BACKBONE, "freeze": "none"},
    "datasets": {"tiny": {"size": 32}},
    "recipe": {"epochs": 1, "batch_norm": "frozen"},
    "grids": [{"name": "main", "dataset": "tiny", "loss": "own:Mine", "lambda": 0.5, "batch_size": 16}],
    "figures": [],
}


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    monkeypatch.syspath_prepend(Path.cwd())
    Path("own_helper.py").write_text("from own import Mine\n")
    Path("own_broken.py").write_text("x = = 1\n")
    yield
    for name in ("own", "own_helper", "own_broken"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def job(tmp_path_factory, backbone):
    """A job that trains a cell, but for its loss."""
    grid = {**EXPERIMENT["grids"][0], "loss": "clce"}
    (cell,) = union(cells_of(parse_experiment({**EXPERIMENT, "grids": [grid]}, "")))
    return job_of(cell, tmp_path_factory.mktemp("prepared"), backbone)


def message(capsys, *arguments):
    status, printed = command_status(arguments), capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in printed
    assert printed.count("error: ") == 1
    return printed


def write(text):
    Path("own.py").write_bytes(text.encode(errors="surrogateescape"))
    Path("config.yaml").write_text(yaml.safe_dump(EXPERIMENT))


@pytest.mark.parametrize(("text", "expected"), SEEN_BY_PLAN.values(), ids=SEEN_BY_PLAN.keys())
def test_what_reading_a_loss_shows_is_said_by_plan(capsys, text, expected):
    write(text)
    assert expected in message(capsys, "plan", "--no-cost")
    assert not Path("results").exists()


@pytest.mark.parametrize(("text", "expected"), SEEN_BEFORE_TRAINING.values(), ids=SEEN_BEFORE_TRAINING.keys())
def test_what_only_importing_a_loss_shows_is_said_before_training(capsys, job, text, expected):
    write(text)
    assert command_status(["plan", "--no-cost"]) == 0
    (cell,) = union(cells_of(parse_experiment(EXPERIMENT, "")))
    asked = json.dumps({**job, "spec": cell.spec})
    assert expected in message(capsys, "train", "--job", asked, "--output", "cell")
    assert [path.name for path in Path("cell").iterdir()] == ["failure.txt"]


@pytest.mark.parametrize("component", ["dataset", "figure"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise RuntimeError('no licence')\n", "own: importing it failed: RuntimeError: no licence"),
        ("raise SystemExit\n", "own: importing it failed: SystemExit"),
        ("class E(BaseException): pass\nraise E\n", "own: importing it failed: E"),
        ("import own_broken\n", "own: importing it failed: SyntaxError: invalid syntax (own_broken.py, line 1)."),
        ("def (\n", "own: importing it failed: SyntaxError: invalid syntax (own.py, line 1)."),
        ("Mine = 3\n", "own:Mine"),
    ],
)
def test_data_sets_and_figures_are_imported_by_plan(capsys, component, text, expected):
    write(text)
    grid = {"name": "main", "dataset": "own:Mine" if component == "dataset" else "tiny", "loss": "ce"}
    figures = [{"kind": "own:Mine", "grid": "main"}] if component == "figure" else []
    Path("config.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "grids": [grid], "figures": figures}))
    assert expected in message(capsys, "plan", "--no-cost")


def test_a_file_that_is_gone_since_it_was_imported_is_looked_for_again(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "moved_loss.py").write_text("")
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "moved_loss", importlib.import_module("moved_loss"))
    assert source_file("moved_loss") == new / "moved_loss.py"
    (new / "moved_loss.py").unlink()
    assert source_file("moved_loss") == old / "moved_loss.py"
    (old / "moved_loss.py").unlink()
    with pytest.raises(UserError, match="moved_loss: there is no such Python module"):
        source_file("moved_loss")
