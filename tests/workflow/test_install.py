"""Who only imports the losses installs torch and nothing else."""

import os
import re
import subprocess
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

import clce_bench

PROGRAM = """
import torch
from clce_bench.losses import FusedLoss, create_loss
embeddings, labels = torch.randn(8, 4, requires_grad=True), torch.arange(8) % 2
for name in ("supcon", "schane", "clce", "tcl", "ntxent", "hcl"):
    FusedLoss(create_loss(name), 0.9)(torch.randn(8, 2), embeddings, labels).backward()
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
def bare_python(tmp_path_factory):
    """A virtual environment with this package, torch and what torch needs."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in requirements("torch"):
        installed = distribution(name)
        for part in top_level(installed):
            # Several distributions may share a folder.
            if not (packages / part).exists():
                (packages / part).symlink_to(installed.locate_file(part))
    (packages / "clce_bench").symlink_to(Path(clce_bench.__file__).parent)
    return folder / "bin" / "python"


def run(*command):
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, env=clean, cwd="/")


def test_losses_need_torch_alone(bare_python):
    done = run(bare_python, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr


def test_the_command_says_what_it_lacks(bare_python):
    done = run(bare_python, "-m", "clce_bench.cli", "status")
    assert done.returncode == 2
    assert "pip install 'clce_bench[pipeline]'" in done.stderr


def test_the_package_requires_torch_alone():
    required = [need for need in distribution("clce_bench").requires if "extra ==" not in need]
    assert [re.match(r"[\w-]+", need)[0] for need in required] == ["torch"]
