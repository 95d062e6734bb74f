"""Predicted power against the power of simulated experiments, for differences that are hard and easy to see.

python benchmarks/power.py
"""

from datetime import date
from pathlib import Path

import click
import numpy as np

from clce_bench.analysis.intervals import crossed_parts, half_width
from clce_bench.analysis.power import DRAWS, Spread, power, smallest_visible
from clce_bench.analysis.variance_components import MeanSquares, mean_squares
from clce_bench.seeds import seed_for

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
SPREADS = {
    "seeds matter": (2.0, 20.0, 200.0),
    "images matter": (0.1, 200.0, 200.0),
    "rest only": (0.0, 0.0, 600.0),
    "all alike": (0.8, 150.0, 600.0),
}
UNITS = 250


def simulated(spread: Spread, difference: float, alpha: float, repeats: int) -> float:
    """Draws whole tables of seeds × test images and says how many intervals at 1 − α leave out 0."""
    rng = np.random.default_rng(seed_for("simulated power", spread=str(spread), difference=str(difference)))
    shape, means, squares = (spread.seeds, spread.units), [], []
    for _ in range(repeats):
        table = difference + spread.seed**0.5 * rng.normal(size=(shape[0], 1))
        table = table + spread.unit**0.5 * rng.normal(size=(1, shape[1])) + spread.rest**0.5 * rng.normal(size=shape)
        means.append(table.mean())
        squares.append(mean_squares(table))
    # All intervals at once, as crossed_interval makes each.
    widths = half_width(crossed_parts(MeanSquares(*np.transpose(squares)), *shape), alpha / 2)
    return float((np.abs(means) > widths).mean())


@click.command()
@click.option("--repeats", default=4000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/power.md."""
    lines, gaps, errors = [], [], []
    for seeds in (3, 5, 10):
        for name, variances in SPREADS.items():
            spread = Spread(seeds, UNITS, *variances)
            for alpha in (0.05, 0.01):
                visible = smallest_visible(spread, alpha)
                for share in (0.5, 1.0):
                    predicted = power(spread, share * visible, alpha)
                    found = simulated(spread, share * visible, alpha, repeats)
                    gaps.append(100 * (predicted - found))
                    errors.append(100 * (predicted * (1 - predicted) * (1 / repeats + 1 / DRAWS)) ** 0.5)
                    lines.append(
                        f"| {seeds} | {name} | {alpha} | {share * visible:.2f} | {100 * predicted:.1f} % | "
                        f"{100 * found:.1f} % |"
                    )
                    click.echo(lines[-1], err=True)
    rows, ratios = "\n".join(lines), np.divide(gaps, errors)
    largest, mean, noise = np.abs(gaps).max(), np.mean(gaps), np.mean(ratios**2)
    page = f"""# Predicted power

`clce-bench power` predicts how often a true difference is found, from the variances of seeds, test images and the rest.
Here the prediction stands beside {repeats:,} simulated experiments per row ({UNITS} test images), each tested as
verdicts are. The largest gap is {largest:.1f} points, the mean {mean:+.2f}. One standard error of a gap, of
simulation and prediction ({DRAWS:,} draws) together, is at most {max(errors):.1f} points; in such errors the mean
square of the gaps is {noise:.2f}, where noise alone makes 1. {date.today()}.

| seeds | variance | level | true difference (points) | predicted | simulated |
| ---: | --- | ---: | ---: | ---: | ---: |
{rows}

Simulated by `python benchmarks/power.py`.
"""
    (OUTPUT / "power.md").write_text(page)


if __name__ == "__main__":
    main()
