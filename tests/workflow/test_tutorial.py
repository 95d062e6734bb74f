"""The tutorial, as far as it needs no training; ``.ci/run_tutorial.py`` runs all of it."""

import shlex
import subprocess

import pytest
import torch
from PIL import Image

from clce_bench.cli import command_status
from clce_bench.cli.commands import cli
from clce_bench.losses import create_loss
from tests.helpers.miniature import ROOT
from tests.helpers.tutorial import commands, write_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path)
    for name in ("a", "b"):
        path = tmp_path / "examples/my_experiment/images" / name
        path.mkdir(parents=True)
        for number in range(30):
            Image.new("RGB", (8, 8), (number, 0, ord(name))).save(path / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_experiment_of_the_tutorial_has_the_cells_that_it_promises(folder, capsys):
    assert command_status(["plan", "--no-cost", "--experiment", "mine/experiment.yaml"]) == 0
    assert "6 cells" in capsys.readouterr().out
    assert command_status(["status", "--experiment", "mine/experiment.yaml"]) == 0


def test_the_loss_of_the_tutorial_learns(folder):
    embeddings = torch.randn(16, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(16) % 2
    optimizer, loss = torch.optim.SGD([embeddings], lr=0.5), create_loss("mine.my_loss:Margin")
    first = loss(embeddings, labels)
    for _ in range(20):
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
    assert loss(embeddings, labels) < 0.5 * first


def test_the_commands_of_the_tutorial_exist():
    verbs = 0
    for command in commands():
        program, *words = shlex.split(command)
        if program.endswith("clce-bench"):
            cli.get_command(None, words[0]).make_context(words[0], words[1:])
            verbs += 1
        elif program == "make":
            dry = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
            assert dry.returncode == 0, dry.stderr
        else:
            assert program == ".venv/bin/python"
            assert (ROOT / words[0]).is_file()
    assert verbs >= 2
