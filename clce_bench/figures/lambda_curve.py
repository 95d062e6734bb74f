"""Accuracy against λ: from cross-entropy alone (0) to the contrastive loss alone (1)."""

from clce_bench.figures.curves import accuracy_and_difference
from clce_bench.figures.source import Drawing, Source


def draw(source: Source) -> Drawing:
    """Draws a row of panels per data set and metric."""
    return accuracy_and_difference(source, "lambda")
