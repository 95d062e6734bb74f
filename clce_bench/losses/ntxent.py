"""NT-Xent, the loss of SimCLR."""

from typing import ClassVar, Literal, Unpack

from clce_bench.losses.core import Options
from clce_bench.losses.supcon import SupCon
from clce_bench.losses.temperature import temperature_of


class NTXent(SupCon):
    r"""Normalised temperature-scaled cross-entropy (Chen et al., arXiv 2002.05709).

    .. math::
        \ell_i = -\log \frac{e^{s_{ip}/\tau}}{\sum_{a \ne i} e^{s_{ia}/\tau}}

    where p is the other view of image i: SupCon with every image its own class. ``labels`` say which rows are views of
    one image; more than two views give SupCon's mean over the positives.

    Args:
        temperature: τ, scale of the similarities, > 0; ``learned`` from 0.5 on.
        options: ``reduction`` and ``gather``.
    """

    self_supervised: ClassVar[bool] = True

    def __init__(self, temperature: float | Literal["learned"] = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(temperature, "outside", **options)
        self.temperature = temperature_of(temperature, start=0.5)
