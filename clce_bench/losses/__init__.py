"""Contrastive losses, alone or fused with cross-entropy.

>>> import torch
>>> loss = create_loss("clce", temperature=0.5)
>>> embeddings, labels = torch.randn(8, 16), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
>>> loss(embeddings, labels).shape
torch.Size([])
"""

from typing import Any

from torch import nn

from clce_bench.losses.core import ContrastiveLoss
from clce_bench.losses.fused import FusedLoss
from clce_bench.registry import load, loss_path

__all__ = ["ContrastiveLoss", "FusedLoss", "create_loss"]


def create_loss(name: str, **hyperparameters: Any) -> nn.Module:
    """Makes a contrastive loss.

    Args:
        name: ``supcon``, ``schane``, ``clce``, ``tcl``, or the import path of a loss of your own
            (``my_pkg.my_loss:MyLoss``).
        hyperparameters: passed to the loss.

    Returns:
        A module called as ``loss(embeddings, labels)``.

    Raises:
        UserError: no loss has this name.
        ValueError: a hyper-parameter is outside its range.
    """
    loss: nn.Module = load(loss_path(name))(**hyperparameters)
    return loss
