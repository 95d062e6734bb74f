"""The losses that come with the project: where each is found, and how it is shown."""

from typing import NamedTuple


class LossInfo(NamedTuple):
    """A loss.

    Attributes:
        path: its import path; empty for cross-entropy, which is PyTorch's own, and for no training.
        label: its name as papers write it.
        color: its one colour in all figures, of Okabe and Ito's palette, which any colour vision can tell apart; when
            that is used up, of Paul Tol's muted one.
        marker: of its points, as matplotlib calls it.
        line: its style; lines can be told apart without any colour too.
    """

    path: str
    label: str
    color: str
    marker: str
    line: str


SELF_SUPERVISED = "-images"
"""Ends the name of a loss that could take classes and learns without them: ``tcl-images``."""

NO_TRAINING = "none"
"""Takes the place of a loss where nothing is trained: features are measured as the backbone brings them along."""

# In the order of tables and legends.
LOSSES: dict[str, LossInfo] = {
    "ce": LossInfo("", "CE", "#000000", "o", "-"),
    NO_TRAINING: LossInfo("", "no training", "#888888", "*", ":"),
    "supcon": LossInfo("clce_bench.losses.supcon:SupCon", "SupCon", "#0072B2", "s", "--"),
    "schane": LossInfo("clce_bench.losses.schane:SCHaNe", "SCHaNe", "#E69F00", "^", "-."),
    "clce": LossInfo("clce_bench.losses.clce:CLCE", "CLCE", "#D55E00", "D", "-"),
    "tcl": LossInfo("clce_bench.losses.tcl:TCL", "TCL", "#009E73", "v", ":"),
    "sincere": LossInfo("clce_bench.losses.sincere:SINCERE", "SINCERE", "#882255", "p", "--"),
    "ntxent": LossInfo("clce_bench.losses.ntxent:NTXent", "NT-Xent", "#CC79A7", "P", "--"),
    "hcl": LossInfo("clce_bench.losses.hcl:HCL", "HCL", "#56B4E9", "X", "-."),
    "dcl": LossInfo("clce_bench.losses.dcl:DCL", "DCL", "#332288", "h", "-."),
    "barlow-twins": LossInfo("clce_bench.losses.barlow_twins:BarlowTwins", "Barlow Twins", "#999933", "<", "--"),
    "vicreg": LossInfo("clce_bench.losses.vicreg:VICReg", "VICReg", "#117733", ">", ":"),
    "simsiam": LossInfo("clce_bench.losses.simsiam:SimSiam", "SimSiam", "#AA4499", "d", "-."),
    "byol": LossInfo("clce_bench.losses.byol:BYOL", "BYOL", "#88CCEE", "H", "--"),
    "moco": LossInfo("clce_bench.losses.moco:MoCo", "MoCo v2", "#DDCC77", "8", ":"),
}

WITHOUT_CODE = tuple(name for name, info in LOSSES.items() if not info.path)
"""Those that have no contrastive loss and no hyper-parameters."""


def loss_order(name: str) -> int:
    """Returns a loss's place in tables and legends; losses of the user's own come last."""
    return list(LOSSES).index(name) if name in LOSSES else len(LOSSES)
