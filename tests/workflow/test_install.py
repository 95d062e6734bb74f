"""Who only imports the losses installs torch and nothing else."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.helpers.miniature import ROOT

PROGRAM = """
import torch
from clce_bench.losses import CLCE, HCL, NTXent, SCHaNe, SupCon, TCL, FusedLoss, create_loss
embeddings, labels = torch.randn(8, 4, requires_grad=True), torch.arange(8) % 2
for loss in (CLCE(), HCL(), NTXent(), SCHaNe(), SupCon(), TCL(), create_loss("clce")):
    FusedLoss(loss, 0.9)(torch.randn(8, 2), embeddings, labels).backward()
from clce_bench.training.gradient_cache import cached_backward
import importlib.util
assert not any(map(importlib.util.find_spec, ("numpy", "pydantic", "timm", "snakemake", "mlflow", "pandas")))
"""


def requirements(name: str) -> set[str]:
    """The installed distributions that one needs, without its extras."""
    found, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        names = [re.match(r"[\w.-]+", need)[0] for need in needs if "extra ==" not in need]
        waiting += [need for need in names if need not in found]
    return found


def top_level(installed: Distribution) -> set[str]:
    return {file.parts[0] for file in installed.files if file.parts[0] not in ("..", "__pycache__")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as it is published, built from a copy of the sources."""
    sources, folder = (tmp_path_factory.mktemp(name) for name in ("sources", "wheel"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "clce_bench", sources / "clce_bench", ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir")
    built = run(sys.executable, "-m", "pip", "wheel", *options, folder, sources)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("clce_bench-*.whl")
    return path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory, wheel):
    """A virtual environment with the wheel of this package, torch and what torch needs."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in requirements("torch"):
        installed = distribution(name)
        for part in top_level(installed):
            # Several distributions may share a folder.
            if not (packages / part).exists():
                (packages / part).symlink_to(installed.locate_file(part))
    python = folder / "bin" / "python"
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    return python


def run(*command):
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, env=clean, cwd="/")


def test_losses_need_torch_alone(bare_python):
    done = run(bare_python, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    where = run(bare_python, "-c", "import clce_bench; print(clce_bench.__file__)")
    assert Path(where.stdout).is_relative_to(bare_python.parents[1])


def test_the_wheel_has_every_file_of_the_package_and_says_that_it_is_typed(wheel):
    files = {path for path in (ROOT / "clce_bench").rglob("*.*") if "__pycache__" not in path.parts}
    packed = zipfile.ZipFile(wheel).namelist()
    assert "clce_bench/py.typed" in packed
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(packed)


def test_the_command_says_what_it_lacks(bare_python):
    done = run(bare_python, "-m", "clce_bench.cli", "status")
    assert done.returncode == 2
    assert "pip install '.[pipeline]' in its clone" in done.stderr


def test_the_package_requires_torch_alone():
    required = [need for need in distribution("clce_bench").requires if "extra ==" not in need]
    assert [re.match(r"[\w-]+", need)[0] for need in required] == ["torch"]
