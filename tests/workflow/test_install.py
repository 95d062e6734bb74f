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
    assert "pip install 'clce_bench[pipeline]'" in done.stderr


def test_the_package_requires_torch_alone():
    required = [need for need in distribution("clce_bench").requires if "extra ==" not in need]
    assert [re.match(r"[\w-]+", need)[0] for need in required] == ["torch"]


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and an environment whose programs only say what they were called with."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("snakemake", "clce-bench"):
        write_program(tmp_path / ".venv" / "bin" / name, 'printf "%s|" "${0##*/}" "$@"; echo; exit ${STATUS:-0}')
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make(folder, *arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**clean, **environment})


@pytest.mark.parametrize("name", ["a b.yaml", "it's.yaml", 'a"b;touch ran.yaml', "a`touch ran`b.yaml", "*.yaml"])
def test_the_experiments_name_is_quoted(checkout, name):
    done = make(checkout, "reproduce", f"EXPERIMENT={name}", f"PROFILE=of {name}")
    assert done.returncode == 0, done.stderr
    plan, tune, run, headline = done.stdout.splitlines()
    assert plan == f"clce-bench|plan|--experiment|{name}|"
    assert tune == f"clce-bench|tune|--check|--experiment|{name}|"
    assert run.startswith(f"snakemake|--configfile|{name}|--profile|of {name}|")
    assert headline == f"clce-bench|headline|--experiment|{name}|"
    assert not list(checkout.glob("ran*"))


@pytest.mark.parametrize(("status", "runs"), [(0, 1), (1, 2), (2, 0)])
def test_a_bad_experiment_ends_with_its_message_alone(checkout, status, runs):
    write_program(
        checkout / ".venv/bin/clce-bench", f'[ "$1" = tune ] || exit 0; echo "error: it is bad" >&2; exit {status}'
    )
    done = make(checkout, "reproduce")
    assert done.stdout.count("snakemake|") == runs
    assert "error: it is bad" in done.stderr
    assert (done.returncode == 0) == (status < 2)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            'case "$*" in --version) echo Python 3.9.2;; *version_info*) exit 1;; *) touch ran;; esac',
            "Python 3.9.2 is too old",
        ),
        ('case "$*" in *ensurepip*) exit 1;; *version_info*) ;; *) touch ran;; esac', "apt-get install python3-venv"),
        (None, "There is no ./python. Python 3.11 or newer is needed."),
    ],
    ids=["old", "no venv", "none"],
)
def test_a_python_that_will_not_do_is_named_before_anything_is_downloaded(checkout, program, expected):
    shutil.rmtree(checkout / ".venv")
    if program:
        write_program(checkout / "python", program)
    done = make(checkout, "reproduce", "PYTHON=./python")
    assert done.returncode == 2
    assert expected in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not list(checkout.glob("ran*"))


def test_running_an_experiment_installs_nothing_for_tests():
    for goal, extras in (("reproduce", "'.[pipeline]'"), ("test", "'.[pipeline,dev]'"), ("lint", "'.[pipeline,dev]'")):
        lines = make(ROOT, "--dry-run", "--always-make", goal).stdout.splitlines()
        asked = [line.rpartition(" ")[2] for line in lines if "pip install" in line]
        assert asked[-1] == extras
        assert "Setting up .venv" in "".join(
            lines[: lines.index(next(line for line in lines if "pip install" in line))]
        )
