"""The contrastive loss of a cell, tried before it is trusted with a training run."""

import copy

import torch
from torch import Tensor, nn

from clce_bench.components.hyperparameters import EMBEDDING_SIZE, has_momentum_encoder, hyperparameters_of
from clce_bench.components.registry import loss_path
from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.hazards import PROCESSES
from clce_bench.losses.create import create_loss
from clce_bench.losses.hazard_variants import BASE_TEMPERATURE, PerProcess, Scaled
from clce_bench.training import distributed


def contrastive_loss(cell: Cell) -> nn.Module | None:
    """Makes a cell's contrastive loss; ``None`` at λ = 0.

    Raises:
        UserError: the loss refuses its hyper-parameters, or one of the user's own does not return a loss.
    """
    if cell.contrastive_weight == 0:
        return None
    name = cell.loss.name
    hyperparameters = dict(cell.loss.hyperparameters)
    if EMBEDDING_SIZE in hyperparameters_of(loss_path(name)):
        hyperparameters.setdefault(EMBEDDING_SIZE, cell.recipe.projection_size)
    if distributed.world_size() > 1 and "per-process-negatives" not in cell.hazards:
        hyperparameters["gather"] = True
    try:
        loss = create_loss(name, **hyperparameters)
    except (ValueError, TypeError) as error:
        raise UserError(f"losses.{name}: {error}") from None
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if ":" not in name:
            raise
        raise UserError(f"losses.{name}: making it failed: {type(error).__name__}: {error}.") from error
    if ":" in name:
        _try(name, copy.deepcopy(loss), cell.recipe.projection_size)
    if "per-process-negatives" in cell.hazards:
        loss = PerProcess(loss, PROCESSES // distributed.world_size(), cell.recipe.views)
    if "scaled-supcon" in cell.hazards:
        loss = Scaled(loss, cell.loss.hyperparameters["temperature"] / BASE_TEMPERATURE)
    return loss


def _try(name: str, loss: nn.Module, dimensions: int) -> None:
    """Calls a loss on four rows of two classes; what goes wrong inside is shown as it is."""
    with torch.random.fork_rng(devices=[]):
        embeddings = torch.randn(4, dimensions, requires_grad=True)
        compared = (embeddings.detach(),) if has_momentum_encoder(name) else ()
        value = loss(embeddings, torch.tensor([0, 0, 1, 1]), *compared)
    if isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad:
        return
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    lacking = " without a gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
    expected = "a scalar tensor with a gradient, such as the mean over the rows"
    raise UserError(f"losses.{name}: it returned {found}{lacking}. Expected: {expected}.")
