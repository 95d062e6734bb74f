"""Accuracy against batch size: whether a loss needs large batches."""

from clce_bench.figures.curves import accuracy_and_difference
from clce_bench.figures.source import Drawing, Source


def draw(source: Source) -> Drawing:
    """Draws a row of panels per data set and metric."""
    return accuracy_and_difference(source, "batch_size")
