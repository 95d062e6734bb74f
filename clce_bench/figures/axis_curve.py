"""Accuracy against whatever else a grid varies: encoder, projection width, views, a loss's own parameters."""

from clce_bench.figures.curves import accuracy_and_difference
from clce_bench.figures.source import Drawing, Source


def draw(source: Source) -> Drawing:
    """Draws a row of panels per data set and metric."""
    return accuracy_and_difference(source, source.options.axis)
