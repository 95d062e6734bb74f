"""TCL's statements about gradients, checked on random similarities in closed form.

With e = exp(s/τ) over the positives P and the negatives N of an anchor, and
D = Σ_p e_p + k1·Σ_p exp(−s_p) + k2·Σ_n e_n, TCL's loss is −mean_p log(e_p / D), and its gradients with respect to the
similarities are (e_p/τ − k1·exp(−s_p)) / D − 1/(|P|·τ) for a positive and k2·e_n / (τ·D) for a negative. SupCon is
k1 = 0, k2 = 1. tests/analysis/test_claims.py compares them with autograd on the losses.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.seeds import seed_for

DRAWS = 10_000


class Gradients(NamedTuple):
    """Derivatives of the loss of one anchor with respect to its similarities.

    Attributes:
        positive: (…, |P|).
        negative: (…, |N|).
    """

    positive: NDArray[np.float64]
    negative: NDArray[np.float64]


def tcl_gradients(
    positive: NDArray[np.float64], negative: NDArray[np.float64], temperature: float, k1: float, k2: float
) -> Gradients:
    """Computes the gradients of TCL; of SupCon at k1 = 0, k2 = 1.

    Args:
        positive: cosine similarities to the positives, (…, |P|).
        negative: to the negatives, (…, |N|).
        temperature: τ, > 0.
        k1: weight of the positives' term in the denominator.
        k2: weight of the negatives.
    """
    e_positive, e_negative = np.exp(positive / temperature), np.exp(negative / temperature)
    repelled = k1 * np.exp(-positive)
    denominator = (e_positive + repelled).sum(axis=-1) + k2 * e_negative.sum(axis=-1)
    scaled = (e_positive / temperature - repelled) / denominator[..., None]
    return Gradients(
        scaled - 1 / (positive.shape[-1] * temperature), k2 * e_negative / (temperature * denominator[..., None])
    )


def positive_gradient_margin() -> float:
    """Returns the smallest excess of TCL's gradient from the hardest positive over SupCon's, relative to the latter.

    Over anchors with random similarities, τ in [0.05, 1] and k1, k2 in [1, 10 000]; above 0 where the theorem holds.
    """

    def margin(rng: np.random.Generator, positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
        temperature, k1, k2 = rng.uniform(0.05, 1), *np.exp(rng.uniform(0, np.log(1e4), 2))
        hardest = positive.argmin()
        ours = abs(tcl_gradients(positive, negative, temperature, k1, k2).positive[hardest])
        theirs = abs(tcl_gradients(positive, negative, temperature, 0, 1).positive[hardest])
        return float(ours / theirs - 1)

    return _smallest(margin)


def negative_gradient_margin() -> float:
    """Returns the smallest relative growth of TCL's gradient from the negatives when k2 grows by half at fixed k1.

    Over anchors as in :func:`positive_gradient_margin`; above 0 where the theorem holds.
    """

    def margin(rng: np.random.Generator, positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
        temperature, k1, k2 = rng.uniform(0.05, 1), *np.exp(rng.uniform(0, np.log(1e4), 2))
        before = tcl_gradients(positive, negative, temperature, k1, k2).negative
        after = tcl_gradients(positive, negative, temperature, k1, 1.5 * k2).negative
        return float((after / before).min() - 1)

    return _smallest(margin)


Margin = Callable[[np.random.Generator, NDArray[np.float64], NDArray[np.float64]], float]


def _smallest(margin: Margin) -> float:
    rng = np.random.default_rng(seed_for("theorems"))
    found = np.inf
    for _ in range(DRAWS):
        positive, negative = (rng.uniform(-1, 1, rng.integers(1, 20)) for _ in range(2))
        found = min(found, margin(rng, positive, negative))
    return found


CHECKS: dict[str, Callable[[], float]] = {
    "tcl-positive-gradient": positive_gradient_margin,
    "tcl-negative-gradient": negative_gradient_margin,
}
