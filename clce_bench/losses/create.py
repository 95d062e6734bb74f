"""Losses by name."""

from typing import Any

from torch import nn

from clce_bench.components.registry import load, loss_path


def create_loss(name: str, **hyperparameters: Any) -> nn.Module:
    """Makes a contrastive loss.

    >>> create_loss("supcon", temperature=0.1, positives="inside", reduction="none").reduction
    'none'

    Args:
        name: ``supcon``, ``schane``, ``clce``, ``tcl``, ``sincere``, ``ntxent``, ``hcl``, ``dcl``, ``barlow-twins``,
            ``vicreg``, ``simsiam``, ``byol``, ``moco``, or the import path of a loss of your own
            (``my_pkg.my_loss:MyLoss``).
        hyperparameters: passed to the loss; with the losses here also ``gather`` (compare across the processes of
            ``torch.distributed``) and, with those of pairs, ``reduction`` (``mean`` or ``none``).

    Returns:
        A module called as ``loss(embeddings, labels)``.

    Raises:
        UserError: no loss has this name.
        ValueError: a hyper-parameter is outside its range.
    """
    loss: nn.Module = load(loss_path(name))(**hyperparameters)
    return loss
