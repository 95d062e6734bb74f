import errno
import json
import os
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from clce_bench.analysis.summary import write_summary
from clce_bench.cli import command_status, commands
from clce_bench.cli.commands import SECTIONS, cli
from clce_bench.errors import Interrupted
from tests.helpers.interpreters import python
from tests.helpers.made_up import change_record, make_up
from tests.helpers.miniature import ROOT

LIGHT = [
    ["plan", "--no-cost", "--experiment", str(ROOT / "config.yaml")],
    ["status", "--experiment", str(ROOT / "config.yaml")],
    ["status", "--experiment", str(ROOT / "config.yaml"), "--json"],
    ["dataset", "--job", '{"spec":{"dataset":"digits","size":8}}', "--output", "data"],
    ["power", "--experiment", str(ROOT / "config.yaml")],
]


@pytest.mark.parametrize("arguments", LIGHT, ids=lambda arguments: arguments[0])
def test_light_verbs_import_neither_torch_nor_mlflow(arguments):
    code = (
        "import sys; from clce_bench.cli import command_status;"
        f"status = command_status({arguments!r});"
        "print(status, sorted({'torch', 'mlflow', 'timm'} & set(sys.modules)))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_later_light_verbs_import_neither_torch_nor_mlflow():
    code = (
        "import sys\n"
        "from tests.helpers.made_up import EXPERIMENT, make_up\n"
        "from clce_bench.data.splits import make_splits\n"
        "from clce_bench.data.episodes import make_episodes\n"
        "from clce_bench.evaluation.evaluate import evaluate_cell\n"
        "from clce_bench.analysis.summary import write_summary\n"
        "from clce_bench.figures.render import render\n"
        "from clce_bench.report.page import write_report\n"
        "experiment, plan = make_up(grids=EXPERIMENT['grids'][:1], figures=EXPERIMENT['figures'][:1])\n"
        "write_summary(experiment, plan.folder)\n"
        "[render({'spec': job.spec, 'inputs': job.inputs}, plan.folder / 'figures' / f'{name}.svg')"
        " for name, job in plan.jobs['figures'].items()]\n"
        "write_report(experiment, plan.folder / 'report.html')\n"
        "print(sorted({'torch', 'mlflow', 'timm'} & set(sys.modules)))"
    )
    done = python("-c", code, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_verb_has_help_with_an_example(name, capsys):
    assert command_status([name, "--help"]) == 0
    assert "Example" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "--experiment", "none.yaml"], "error: none.yaml: there is no such experiment file"),
        (["dataset", "--job", "{", "--output", "x"], "error: --job: neither JSON nor a file of it"),
        (["dataset", "--job", '{"spec":{"dataset":"digit","size":8}}', "--output", "x"], "Did you mean 'digits'?"),
        (["pln"], "No such command 'pln'"),
        (["track"], "config.yaml: there is no such experiment file"),
    ],
)
def test_bad_input_is_one_message_and_status_2(arguments, expected, capsys):
    assert command_status(arguments) == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert "Traceback" not in printed
    assert not Path("x").exists()


def test_a_failing_cell_leaves_its_reason(capsys):
    job = {"spec": {"dataset": "digits"}, "inputs": {}, "code": ""}
    assert command_status(["train", "--job", json.dumps(job), "--output", "cell"]) != 0
    assert "ValidationError" in Path("cell/failure.txt").read_text()


def test_status_tells_what_each_cell_is(capsys):
    from tests.helpers.made_up import make_up

    _, plan = make_up()
    (plan.cells[0].directory / "cell.json").unlink()
    assert command_status(["status", "--experiment", str(plan.folder / "experiment.json"), "--json"]) == 0
    rows = {row["cell"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[plan.cells[0].name]["reason"] == "never run"
    assert {row["status"] for name, row in rows.items() if name != plan.cells[0].name} == {"done"}


@pytest.mark.parametrize("name", ["cell.json", "metrics.json", "history.csv"])
def test_damaged_results_stop_nobody_and_are_made_again(name, capsys):
    from tests.helpers.made_up import make_up

    _, plan = make_up(grids=[{"name": "main", "dataset": "digits", "loss": ["ce", "clce"]}], figures=[])
    cell, *_ = plan.cells
    path, experiment = cell.directory / name, ["--experiment", str(plan.folder / "experiment.json")]
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"[]", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        for verb in (["plan", "--no-cost"], ["status"], ["summarize", "--output", "tables"]):
            assert command_status([*verb, *experiment]) == 0, capsys.readouterr().err
        if name != "history.csv":  # Made-up records do not vouch for it.
            (state,) = pd.read_csv("tables/summary.csv").query("cell == @cell.name")["status"]
            assert state in ("stale", "missing")
    path.write_bytes(whole)


def test_a_training_run_that_was_asked_to_end_has_a_status_of_its_own(tmp_path, monkeypatch, capsys):
    from clce_bench.training import train

    def interrupted(*_):
        raise Interrupted("stopped after step 5; the same command goes on from there")

    monkeypatch.setattr(train, "train_cell", interrupted)
    assert command_status(["train", "--job", "{}", "--output", str(tmp_path / "cell")]) == 75
    assert "stopped after step 5" in capsys.readouterr().err
    assert not (tmp_path / "cell" / "failure.txt").exists()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "this user may not"),
    ],
)
def test_a_disk_that_cannot_be_written_is_one_message(monkeypatch, capsys, number, said):
    def fail(*_):
        raise OSError(number, os.strerror(number), "results/data/items.parquet")

    monkeypatch.setattr("clce_bench.data.prepare.prepare_dataset", fail)
    assert command_status(["dataset", "--job", '{"spec":{}}', "--output", "out"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: results/data/items.parquet: {said}")
    assert "Traceback" not in printed


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyError])
def test_the_last_lines_of_a_log_hold_the_cause_however_long_a_message_is(monkeypatch, capsys, error):
    def fail(*_):
        raise error("out of memory\n" + "frame\n" * 50)

    monkeypatch.setattr("clce_bench.data.prepare.prepare_dataset", fail)
    assert command_status(["dataset", "--job", '{"spec":{}}', "--output", "out"]) == 1
    last = capsys.readouterr().err.splitlines()[-3:]
    assert any("out of memory" in line for line in last)


def test_help_lists_every_verb_once_in_a_section_and_cuts_no_sentence(capsys):
    files = Path(commands.__file__).parent.glob("*_command*.py")
    modules = [import_module(f"clce_bench.cli.{path.stem}") for path in files]
    defined = [command.name for module in modules for command in getattr(module, "COMMANDS", ())]
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(defined) == [cli.get_command(None, name).name for name in sorted(listed)]
    assert command_status(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition(next(iter(SECTIONS)))[2]
    assert [text.index(title) for title in SECTIONS] == sorted(text.index(title) for title in SECTIONS)


def test_plan_says_its_answer_first_and_lists_cells_on_demand(capsys, tmp_path):
    (tmp_path / "x.yaml").write_text(
        "name: x\ngrids: [{name: main, dataset: digits, loss: [ce, clce], seed: [0, 1]}]\n"
    )
    assert command_status(["plan", "--no-cost", "--experiment", "x.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "x.yaml: 4 cells: 4 missing."
    assert lines[1].startswith("The next run: ")
    assert "4 train, 4 evaluate" in lines[1]
    assert not any("clce_bs64" in line for line in lines)
    assert command_status(["plan", "--no-cost", "--cells", "--experiment", "x.yaml"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert sum("_bs64_" in line for line in table) == 4
    assert max(map(len, table)) <= 80


def test_tables_fit_80_columns_and_cut_no_name(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    experiment, plan = make_up(figures=[])
    write_summary(experiment, plan.folder)
    (plan.folder / "report.html").touch()
    change_record(plan.cells[0], status="diverged", reason="the loss was nan in epoch 1, step 2, after a long while")
    (plan.cells[1].directory / "cell.json").unlink()
    file = ["--experiment", str(plan.folder / "experiment.json")]
    for verb in (["plan", "--no-cost", "--cells"], ["status"], ["power"], ["headline"], ["watch", "--once"]):
        assert command_status([*verb, *file]) == 0
        printed = capsys.readouterr().out
        table = [line for line in printed.splitlines() if set(line) & set("│┃━")]
        assert max(map(len, table), default=0) <= 80, verb
        if verb[0] in ("plan", "status"):
            assert plan.cells[1].name in printed
        assert table or verb[0] == "watch"
    assert command_status(["dataset", "--list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
