import os

# Each test process has a core of its own, and so have those that it starts: more threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from clce_bench.components.registry import DATASETS
from tests.helpers.interpreters import served
from tests.helpers.jobs import BACKBONE
from tests.helpers.memory import keep_folders_in_memory
from tests.helpers.miniature import make_finished
from tests.helpers.order import dealt

torch.set_num_threads(1)
# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

DATASETS.update({"tiny": "tests.helpers.tiny:TINY", "tiny-fs": "tests.helpers.tiny:TINY_FEW_SHOT"})


def pytest_configure(config):
    """The process that all test processes come from lends them interpreters, and says where their folders lie."""
    if not hasattr(config, "workerinput"):
        keep_folders_in_memory()
        lending = served()
        lending.__enter__()
        config.add_cleanup(lambda: lending.__exit__(None, None, None))


def pytest_collection_modifyitems(items):
    items[:] = dealt(items)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Paths of results start at the working directory, so no test may work in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A real run of the miniature experiment, made once for all test processes: copy it, do not change it."""
    several = "PYTEST_XDIST_TESTRUNUID" in os.environ
    root = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.getbasetemp()
    folder = root / "finished"
    with FileLock(root / "finished.lock"):
        if not (folder / "done").exists():
            make_finished(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    from clce_bench.models.weights import prepare_backbone

    folder = tmp_path_factory.mktemp("backbone")
    prepare_backbone(BACKBONE, folder)
    return folder
