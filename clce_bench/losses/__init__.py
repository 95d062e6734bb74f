"""Contrastive losses, alone or fused with cross-entropy.

>>> import torch
>>> loss = create_loss("clce", temperature=0.5)
>>> embeddings, labels = torch.randn(8, 16, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
>>> loss(embeddings, labels).backward()
>>> embeddings.grad.shape
torch.Size([8, 16])
"""

# Modules of this package import where a thing is defined: the code of a cell is then that of its own loss alone.
from clce_bench.losses.barlow_twins import BarlowTwins
from clce_bench.losses.byol import BYOL
from clce_bench.losses.clce import CLCE
from clce_bench.losses.core import ContrastiveLoss, N, P, Pairs
from clce_bench.losses.create import create_loss
from clce_bench.losses.dcl import DCL
from clce_bench.losses.fused import FusedLoss
from clce_bench.losses.hcl import HCL
from clce_bench.losses.moco import MoCo
from clce_bench.losses.ntxent import NTXent
from clce_bench.losses.schane import SCHaNe
from clce_bench.losses.simsiam import SimSiam
from clce_bench.losses.sincere import SINCERE
from clce_bench.losses.supcon import SupCon
from clce_bench.losses.tcl import TCL
from clce_bench.losses.vicreg import VICReg
from clce_bench.losses.view_rows import rows_of_views

__all__ = [
    "BYOL",
    "CLCE",
    "DCL",
    "HCL",
    "SINCERE",
    "TCL",
    "BarlowTwins",
    "ContrastiveLoss",
    "FusedLoss",
    "MoCo",
    "N",
    "NTXent",
    "P",
    "Pairs",
    "SCHaNe",
    "SimSiam",
    "SupCon",
    "VICReg",
    "create_loss",
    "rows_of_views",
]
