"""Cross-entropy and a contrastive loss in one."""

import torch.nn.functional as F
from torch import Tensor, nn


class FusedLoss(nn.Module):
    r"""A weighted sum of cross-entropy and a contrastive loss (the fusion of CLCE, Long et al., arXiv 2402.14551).

    .. math:: \ell = (1 - \lambda) \, \ell_\text{CE} + \lambda \, \ell_\text{contrastive}

    Args:
        contrastive: the contrastive loss; may be ``None`` at λ = 0.
        weight: λ in [0, 1]; 0 is cross-entropy alone, 1 the contrastive loss alone.
        label_smoothing: of cross-entropy, in [0, 1).
        self_supervised: whether the contrastive loss is given images for labels, as self-supervised ones always are.

    Raises:
        ValueError: λ or the smoothing is out of range, there is no contrastive loss at λ > 0, or it is not reduced to a
            scalar.
    """

    def __init__(
        self,
        contrastive: nn.Module | None,
        weight: float,
        label_smoothing: float = 0.0,
        self_supervised: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"weight: {weight!r} is not allowed. Allowed: a number from 0 to 1.")
        if contrastive is None and weight > 0:
            raise ValueError(f"weight: {weight!r} is not allowed without a contrastive loss. Allowed: 0.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: {label_smoothing!r} is not allowed. Allowed: from 0 to below 1.")
        if getattr(contrastive, "reduction", "mean") == "none":
            raise ValueError("reduction: 'none' is not allowed in a fused loss. Allowed: 'mean'.")
        self.contrastive = contrastive
        self.weight = weight
        self.label_smoothing = label_smoothing
        self.self_supervised = self_supervised or getattr(contrastive, "self_supervised", False)

    def forward(
        self,
        logits: Tensor | None,
        embeddings: Tensor | None,
        labels: Tensor,
        images: Tensor | None = None,
        momentum_embeddings: Tensor | None = None,
    ) -> Tensor:
        """Computes the loss.

        >>> import torch
        >>> from clce_bench.losses import create_loss
        >>> fused = FusedLoss(create_loss("clce"), weight=0.9)
        >>> fused(torch.randn(8, 4), torch.randn(8, 16), torch.arange(8) % 4).shape
        torch.Size([])

        Args:
            logits: (rows, classes); not read at λ = 1.
            embeddings: (rows, dimensions); not read at λ = 0.
            labels: (rows,), integer; for cross-entropy alone also probabilities (rows, classes), such as mixed labels,
                which are not smoothed again.
            images: which image each row is a view of, (rows,), integer; read by self-supervised losses, which else
                take the labels.
            momentum_embeddings: of a momentum encoder, (rows, dimensions), for a contrastive loss that takes them.

        Returns:
            A scalar. Cross-entropy is the mean over this process's rows: where processes gather, give each the same
            number of rows.

        Raises:
            ValueError: logits or embeddings are missing.
        """
        if self.weight == 0 or self.contrastive is None:
            return self._cross_entropy(logits, labels)
        if embeddings is None:
            raise ValueError(f"embeddings: None is not allowed at λ = {self.weight:g}.")
        by_image = self.self_supervised and images is not None
        compared = () if momentum_embeddings is None else (momentum_embeddings,)
        contrastive: Tensor = self.contrastive(embeddings, images if by_image else labels, *compared)
        if self.weight == 1:
            return contrastive
        return (1 - self.weight) * self._cross_entropy(logits, labels) + self.weight * contrastive

    def _cross_entropy(self, logits: Tensor | None, labels: Tensor) -> Tensor:
        if logits is None:
            raise ValueError(f"logits: None is not allowed at λ = {self.weight:g}.")
        if labels.ndim > 1:
            return F.cross_entropy(logits, labels)
        return F.cross_entropy(logits, labels.long(), label_smoothing=self.label_smoothing)
