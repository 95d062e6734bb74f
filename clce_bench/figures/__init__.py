"""One class per kind of figure: its options, the cells that it needs, and how it is drawn.

``Figure`` is what a kind of your own builds on, or ``MetricFigure`` if it shows metrics.
"""

from clce_bench.experiment.figure_options import Figure
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Source

__all__ = ["Drawing", "Figure", "MetricFigure", "Source"]
