"""Names, files and checkpoints from others run no code."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from clce_bench.errors import UserError
from clce_bench.execution import worker
from clce_bench.execution.shell_paths import check_shell_names
from clce_bench.experiment.loading import parse_experiment
from clce_bench.models.weights import prepare_backbone
from clce_bench.training.checkpoint import Checkpoints
from tests.helpers.interpreters import python
from tests.helpers.miniature import ROOT

HOSTILE = "-x '$(touch ran1)' \"`touch ran2`\"; touch ran3 & | touch ran4 > ran5 \n touch ran6 {key} {{x}} %s üñ\\"
GRID = {"name": "a", "dataset": "digits", "loss": "ce"}


class Code:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


def ran(folder):
    return [path.name for path in folder.rglob("ran*")]


def test_a_folder_with_a_hostile_name_goes_through_the_shell_as_a_name(tmp_path):
    photos = tmp_path / HOSTILE.replace("/", "") / "photos $(touch ran7)"
    for label in ("a", "b; touch ran8"):
        (photos / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / label / f"{number} $(touch ran9).png")
    name = f"folder:{photos.relative_to(tmp_path)}"
    experiment = {"name": "hostile", "datasets": {name: {"size": 8}}, "figures": []}
    experiment["grids"] = [{**GRID, "dataset": name, "batch_size": 2}]
    file = tmp_path / "$(touch ran10); touch ran11 .yaml"
    file.write_text(yaml.safe_dump(experiment))
    command = ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    done = python(*command, "--configfile", str(file), "--until", "splits")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(tmp_path.glob("results/splits/*/splits.json"))) == 1
    assert not ran(tmp_path.joinpath("results"))
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("ran")} == set()


@pytest.mark.parametrize("name", ["$(touch ran)", "a b", "-rf", "../up", "a;b", "a\nb", "", "ü", "a{key}"])
@pytest.mark.parametrize("key", ["name", "grid", "figure", "backbone"])
def test_other_names_that_become_paths_are_refused(name, key):
    values = {"name": "x", "grids": [dict(GRID)], "figures": []}
    if key == "name":
        values["name"] = name
    elif key == "grid":
        values["grids"][0]["name"] = name
    elif key == "figure":
        if not name:
            return  # A figure without a name is named after its kind.
        values["figures"] = [{"kind": "differences", "grid": "a", "name": name}]
    else:
        values["backbone"] = {"name": name, "weights": "random"}
    with pytest.raises(UserError, match="name"):
        parse_experiment(values, "x.yaml")


@pytest.mark.parametrize("path", ["/x/$(touch ran).yaml", "/x/`id`", "/a b", "/a'b", '/a"b', "/a;b", "/a\nb", "/ü", ""])
def test_paths_that_would_run_as_commands_on_a_cluster_are_refused(path):
    with pytest.raises(UserError, match="the experiment file: .* is not allowed on a cluster"):
        check_shell_names({"the experiment file": path})
    check_shell_names({"the experiment file": "/home/a-b/x_1/c+d@e=f,g.yaml"})


def test_a_cluster_is_asked_for_nothing_from_a_place_with_a_hostile_name(tmp_path):
    file = tmp_path / "$(touch ran) .yaml"
    file.write_text(yaml.safe_dump({"name": "hostile", "figures": [], "grids": [GRID]}))
    command = ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--jobs", "1"]
    done = python(*command, "--executor", "slurm-jobstep", "--configfile", str(file))
    assert done.returncode == 2, done.stderr[-3000:]
    assert "error: the experiment file: " in done.stderr
    assert not ran(tmp_path)


def test_weights_that_hold_code_are_refused():
    torch.save({"weight": Code()}, "evil.pth")
    with pytest.raises(UserError, match=r"backbone\.weights: evil\.pth: cannot be read as weights"):
        prepare_backbone({"name": "resnet18", "weights": "evil.pth"}, Path("backbone"))
    assert not Path("ran").exists()


def test_a_checkpoint_that_holds_code_is_not_used():
    checkpoints = Checkpoints(Path("checkpoints"), "job", seconds=0)
    Path("checkpoints").mkdir()
    torch.save({"identity": "job", "state": Code()}, "checkpoints/step-000000001.pt")
    assert checkpoints.load() is None
    assert not Path("ran").exists()


def test_arrays_that_hold_code_are_refused():
    np.savez("embeddings.npz", features=np.array([Code()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load("embeddings.npz")["features"]
    # The package never asks numpy, pickle or YAML for more than data.
    unsafe = re.compile(
        r"allow_pickle=True|weights_only=False|yaml\.(unsafe_|full_)?load\(|(?<![.\w])eval\(|(?<![.\w])exec\(|shell=True|pickle\.loads?\("
    )
    found = [path.name for path in (ROOT / "clce_bench").rglob("*.py") if unsafe.search(path.read_text())]
    assert found == []


def test_nobody_else_reaches_the_warm_process(monkeypatch):
    monkeypatch.setenv(worker.VARIABLE, "")
    worker.allow()
    folder = Path(yaml.safe_load(os.environ[worker.VARIABLE])["folder"])
    try:
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        shutil.rmtree(folder)


def test_the_interface_of_the_runs_listens_on_loopback_only():
    lines = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "--host 127.0.0.1" in lines
