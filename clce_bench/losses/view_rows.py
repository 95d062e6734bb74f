"""Batches as SupContrast's code has them."""

import torch
from torch import Tensor


def rows_of_views(embeddings: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Turns SupContrast's batch of views into the rows and labels that losses here take: ``loss(*rows_of_views(…))``.

    >>> rows, labels = rows_of_views(torch.randn(4, 2, 16))
    >>> rows.shape, labels.tolist()
    (torch.Size([8, 16]), [0, 1, 2, 3, 0, 1, 2, 3])

    Args:
        embeddings: (images, views, dimensions); dimensions beyond the third are joined with it.
        labels: class of each image, (images,); without them each image is its own class, as in SimCLR.

    Returns:
        Rows (views · images, dimensions), all images in their first view, then all in their second, …; and their
        labels (views · images,).

    Raises:
        ValueError: the shapes do not fit.
    """
    if embeddings.ndim < 3 or (labels is not None and labels.shape != embeddings.shape[:1]):
        told = f"{tuple(embeddings.shape)}" + (f" and {tuple(labels.shape)}" if labels is not None else "")
        raise ValueError(f"embeddings, labels: {told} do not fit. Expected: (images, views, dimensions) and (images,).")
    images, views = embeddings.shape[:2]
    own = torch.arange(images, device=embeddings.device) if labels is None else labels
    return embeddings.transpose(0, 1).reshape(views * images, -1), own.repeat(views)
