"""Predicted power against the power of simulated experiments, for differences that are hard and easy to see.

python benchmarks/power.py
"""

from datetime import date
from pathlib import Path

import click
import numpy as np

from clce_bench.analysis.intervals import crossed_interval
from clce_bench.analysis.power import Spread, power, smallest_visible
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
    """Draws whole tables of seeds × test images and tests each."""
    rng = np.random.default_rng(seed_for("simulated power", spread=str(spread), difference=str(difference)))
    shape, found = (spread.seeds, spread.units), 0
    for _ in range(repeats):
        table = difference + spread.seed**0.5 * rng.normal(size=(shape[0], 1))
        table = table + spread.unit**0.5 * rng.normal(size=(1, shape[1])) + spread.rest**0.5 * rng.normal(size=shape)
        found += crossed_interval(table).p < alpha
    return found / repeats


@click.command()
@click.option("--repeats", default=2000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/power.md."""
    lines, worst = [], 0.0
    for seeds in (3, 5, 10):
        for name, variances in SPREADS.items():
            spread = Spread(seeds, UNITS, *variances)
            for alpha in (0.05, 0.01):
                visible = smallest_visible(spread, alpha)
                for share in (0.5, 1.0):
                    predicted = power(spread, share * visible, alpha)
                    found = simulated(spread, share * visible, alpha, repeats)
                    worst = max(worst, abs(predicted - found))
                    lines.append(
                        f"| {seeds} | {name} | {alpha} | {share * visible:.2f} | {100 * predicted:.1f} % | "
                        f"{100 * found:.1f} % |"
                    )
                    click.echo(lines[-1], err=True)
    rows = "\n".join(lines)
    page = f"""# Predicted power

`clce-bench power` predicts how often a true difference is found, from the variances of seeds, test images and the rest.
Here the prediction stands beside {repeats:,} simulated experiments per row ({UNITS} test images), each tested as
verdicts are. One standard error of the simulation is at most {50 / repeats**0.5:.1f} points; the largest gap is
{100 * worst:.1f} points. {date.today()}.

| seeds | variance | level | true difference (points) | predicted | simulated |
| ---: | --- | ---: | ---: | ---: | ---: |
{rows}

Simulated by `python benchmarks/power.py`.
"""
    (OUTPUT / "power.md").write_text(page)


if __name__ == "__main__":
    main()
