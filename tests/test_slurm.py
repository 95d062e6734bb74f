"""The workflow on a real Slurm on loopback, with everything that befalls jobs on a cluster."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from clce_bench.files import read_json
from clce_bench.jobs import cell_key, plan_of
from clce_bench.loading import load_experiment
from tests import slurm_cluster
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    bool(slurm_cluster.missing()), reason=f"no Slurm here (apt-get install slurm-wlm munge): {slurm_cluster.missing()}"
)

LOSS = """
import time
from clce_bench.losses import create_loss

class Slow:
    def __new__(cls, seconds=0.0):
        loss = create_loss("supcon")
        forward = loss.forward
        def slow(*arguments):
            time.sleep(seconds)
            return forward(*arguments)
        loss.forward = slow
        return loss
"""
EXPERIMENT = {
    "name": "cluster",
    "backbone": {"freeze": "blocks", "cached_views": 2},
    "datasets": {"digits": {"size": 16}},
    "recipe": {"epochs": 2},
    "grids": [
        {"name": "quick", "dataset": "digits", "loss": ["ce", "clce"], "seed": [0, 1]},
        {"name": "slow", "dataset": "digits", "loss": {"name": "slow_loss:Slow", "seconds": 0.3}, "seed": [0, 1, 2]},
    ],
    "figures": [],
}
