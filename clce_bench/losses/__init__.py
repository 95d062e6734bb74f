"""Contrastive losses, alone or fused with cross-entropy.

>>> import torch
>>> loss = create_loss("clce", temperature=0.5)
>>> embeddings, labels = torch.randn(8, 16, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
>>> loss(embeddings, labels).backward()
>>> embeddings.grad.shape
torch.Size([8, 16])
"""

from typing import Any

from torch import nn

from clce_bench.components.registry import load, loss_path
from clce_bench.losses.core import ContrastiveLoss, N, P, Pairs
from clce_bench.losses.fused import FusedLoss

__all__ = ["ContrastiveLoss", "FusedLoss", "N", "P", "Pairs", "create_loss"]


def create_loss(name: str, **hyperparameters: Any) -> nn.Module:
    """Makes a contrastive loss.

    >>> create_loss("supcon", temperature=0.1, positives="inside", reduction="none").reduction
    'none'

    Args:
        name: ``supcon``, ``schane``, ``clce``, ``tcl``, ``ntxent``, ``hcl``, or the import path of a loss of your own
            (``my_pkg.my_loss:MyLoss``).
        hyperparameters: passed to the loss; with the losses here also ``reduction`` (``mean`` or ``none``) and
            ``gather`` (compare across the processes of ``torch.distributed``).

    Returns:
        A module called as ``loss(embeddings, labels)``.

    Raises:
        UserError: no loss has this name.
        ValueError: a hyper-parameter is outside its range.
    """
    loss: nn.Module = load(loss_path(name))(**hyperparameters)
    return loss
