"""How often intervals that promise 95 % hold the truth, by simulation, for the intervals in use and three others.

Simulated tables of seeds × units (test images or episodes) have effects of the seed, of the unit and a rest, in shares
of the variance of their mean that stand for the cases met in practice. Writes a table to docs/benchmarks/.

    python benchmarks/coverage.py
"""

from datetime import date
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from clce_bench.analysis.bootstrap import hierarchical_bootstrap
from clce_bench.analysis.intervals import crossed_interval, split_interval
from clce_bench.analysis.variance_components import crossed_components
from clce_bench.seeds import seed_for

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
UNITS = 300
CASES = {
    "seeds only": (1.0, 0.0, 0.0),
    "test images only": (0.0, 1.0, 0.0),
    "rest only": (0.0, 0.0, 1.0),
    "seeds and images alike": (0.5, 0.5, 0.0),
    "all alike": (1 / 3, 1 / 3, 1 / 3),
    "few answers change": (0.1, 0.3, 0.6),
}
"""Shares of seed, unit and rest in the variance of the mean."""
METHODS = ("crossed t", "Satterthwaite", "t over seeds", "plain bootstrap")


def simulate(rng: np.random.Generator, seeds: int, shares: tuple[float, float, float], discrete: bool) -> NDArray:
    """Draws a table whose expected mean is 0 and whose mean has variance 1, (seeds, UNITS).

    Args:
        rng: the source of randomness.
        seeds: rows.
        shares: of seed, unit and rest.
        discrete: round effects of units and the rest to −1, 0 and 1, as differences of right and wrong answers are.
    """
    seed, unit, rest = np.sqrt(shares)
    effects = [rng.normal(size=shape) for shape in ((seeds, 1), (1, UNITS), (seeds, UNITS))]
    if discrete:  # One in ten answers differs; the scale keeps the variance at 1.
        effects[1:] = [np.where(np.abs(e) > 1.645, np.sign(e), 0) / 0.1**0.5 for e in effects[1:]]
    return seed * seeds**0.5 * effects[0] + unit * UNITS**0.5 * effects[1] + rest * (seeds * UNITS) ** 0.5 * effects[2]


def covers(table: NDArray[np.float64]) -> dict[str, bool]:
    """Says which methods' 95 % intervals hold 0."""
    own = crossed_interval(table)
    means = table.mean(axis=1)
    half = stdtrit(len(means) - 1, 0.975) * means.std(ddof=1) / len(means) ** 0.5
    low, high = np.quantile(hierarchical_bootstrap(table, resamples=2000), [0.025, 0.975])
    return {
        "crossed t": own.low <= 0 <= own.high,
        "Satterthwaite": satterthwaite(table),
        "t over seeds": abs(means.mean()) <= half,
        "plain bootstrap": low <= 0 <= high,
    }


def satterthwaite(table: NDArray[np.float64]) -> bool:
    """Says whether the interval with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946) holds 0."""
    n, m = table.shape
    parts = crossed_components(table)
    seeds, units = max(table.mean(axis=1).var(ddof=1) / n, 1e-300), parts.unit
    squares = seeds**2 / (n - 1) + (units + parts.rest) ** 2 / (m - 1) + parts.rest**2 / ((n - 1) * (m - 1))
    freedom = max((seeds + units) ** 2 / squares, n - 1) if units else n - 1
    return bool(abs(table.mean()) <= stdtrit(freedom, 0.975) * (seeds + units) ** 0.5)


def false_alarms(repeats: int, seeds: int, shares: tuple[float, float, float], level: float) -> tuple[float, float]:
    """Simulates how often a test at a level finds a difference where there is none, from mean squares directly.

    Args:
        repeats: tables.
        seeds: of each table.
        shares: of seed, unit and rest in the variance of the mean.
        level: of the test, such as 0.05.

    Returns:
        The share of false alarms with the interval in use and with Satterthwaite's degrees of freedom.
    """
    rng = np.random.default_rng(seed_for("false alarms", seeds=seeds, case=str(shares)))
    seed, unit, rest = shares
    freedoms = seeds - 1, UNITS - 1, (seeds - 1) * (UNITS - 1)
    expected = seed + rest, unit + rest, rest
    of_seeds, of_units, of_rest = (
        value * rng.chisquare(freedom, repeats) / freedom for value, freedom in zip(expected, freedoms, strict=True)
    )
    distance, images = np.abs(rng.normal(size=repeats)), np.maximum(of_units - of_rest, 0)
    total, tail = of_seeds + images, 1 - level / 2
    weighted = (of_seeds * stdtrit(freedoms[0], tail) + images * stdtrit(freedoms[1], tail)) / total
    squares = sum(part**2 / freedom for part, freedom in zip((of_seeds, of_units, of_rest), freedoms, strict=True))
    one_number = np.where(images > 0, np.maximum(total**2 / squares, freedoms[0]), freedoms[0])
    return tuple(float((distance > quantile * total**0.5).mean()) for quantile in (weighted, stdtrit(one_number, tail)))


def splits_coverage(repeats: int, splits: int, answers: str) -> dict[str, float]:
    """Compares the intervals over repeated random splits of one small data set: corrected, and plain t.

    The model answers four of five images rightly, of all that might be collected: that is the truth. Splits share the
    images of the one data set at hand.

    Args:
        repeats: data sets.
        splits: of each.
        answers: ``alike``, the same for an image in every split, or ``anew``, each time by chance.
    """
    rng = np.random.default_rng(seed_for("coverage of splits", splits=splits, answers=answers))
    images, test = 400, 100
    held = {"corrected": 0, "plain t over splits": 0}
    for _ in range(repeats):
        chances = (rng.random(images) < 0.8) if answers == "alike" else np.full(images, 0.8)
        means = np.array([(rng.random(test) < chances[rng.permutation(images)[:test]]).mean() for _ in range(splits)])
        corrected = split_interval(means, test / (images - test), splits)
        plain = crossed_interval(means[:, None])
        held["corrected"] += corrected.low <= 0.8 <= corrected.high
        held["plain t over splits"] += plain.low <= 0.8 <= plain.high
    return {name: count / repeats for name, count in held.items()}


@click.command()
@click.option("--repeats", default=2000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/coverage.md."""
    rows = []
    for seeds in (3, 5, 10):
        for name, shares in CASES.items():
            for discrete in (False, True):
                rng = np.random.default_rng(seed_for("coverage", seeds=seeds, case=name, discrete=int(discrete)))
                held = pd.DataFrame([covers(simulate(rng, seeds, shares, discrete)) for _ in range(repeats)]).mean()
                kind = "−1, 0, 1" if discrete else "normal"
                rows.append({"seeds": seeds, "variance from": name, "differences": kind, **held})
                click.echo(rows[-1], err=True)
    results = pd.DataFrame(rows)
    lines = [
        "| seeds | variance from | differences | " + " | ".join(METHODS) + " |",
        "| ---: | --- | --- |" + " ---: |" * len(METHODS),
    ]
    for row in results.to_dict("records"):
        shown = " | ".join(f"{100 * row[method]:.1f} %" for method in METHODS)
        lines.append(f"| {row['seeds']} | {row['variance from']} | {row['differences']} | {shown} |")
    range_lines = ["| seeds | " + " | ".join(METHODS) + " |", "| ---: |" + " --- |" * len(METHODS)]
    for seeds, held in results.groupby("seeds")[list(METHODS)]:
        spans = [f"{100 * held[method].min():.1f} to {100 * held[method].max():.1f} %" for method in METHODS]
        range_lines.append(f"| {seeds} | " + " | ".join(spans) + " |")
    split_lines = [
        "| splits | an image's answers | corrected (in use) | plain t over splits |",
        "| ---: | --- | ---: | ---: |",
    ]
    for count in (3, 5, 10):
        for answers in ("alike", "anew"):
            held = splits_coverage(repeats, count, answers).values()
            split_lines.append(
                f"| {count} | {answers} | " + " | ".join(f"{100 * value:.1f} %" for value in held) + " |"
            )
    levels = (0.05, 0.01, 0.002)
    alarm_lines = [
        "| seeds | variance from | " + " | ".join(f"level {level} (in use / Satterthwaite)" for level in levels) + " |",
        "| ---: | --- |" + " ---: |" * len(levels),
    ]
    for seeds in (3, 5):
        for name, shares in CASES.items():
            found = [false_alarms(400_000, seeds, shares, level) for level in levels]
            shown = " | ".join(f"{own:.4f} / {other:.4f}" for own, other in found)
            alarm_lines.append(f"| {seeds} | {name} | {shown} |")
    error = 100 * (0.95 * 0.05 / repeats) ** 0.5
    page = f"""# Coverage of the intervals

How often a 95 % interval holds the truth: {repeats:,} simulated tables of seeds × {UNITS} test images per row, so that
a perfect interval scatters around 95 % by {error:.1f} points (one standard error). {date.today()}.

The lowest and the highest coverage over the cases below:

{chr(10).join(range_lines)}

*Crossed t* is in use: Student's t with the variance of two crossed random effects and the weighted quantile of Cochran
and Cox. *Satterthwaite* takes one number of degrees of freedom for both parts instead, and falls short where seeds and
test images matter alike. *t over seeds* forgets that all seeds share the test images, so its intervals speak of this
test part only. *Plain bootstrap* resamples seeds and test images (percentiles): with few seeds it is too narrow where
seeds matter, and too wide where neither does, because resampling both counts the rest three times. It stands in
`comparisons.csv` for those who ask for it; no verdict rests on it.

{chr(10).join(lines)}

## Small p-values

Holm's correction looks at p-values much smaller than 0.05. How often a test finds a difference where there is none
(normal differences, 400,000 tables):

{chr(10).join(alarm_lines)}

## Repeated splits

When an experiment repeats the split, results share images. The interval in use corrects for that as Nadeau and Bengio
do; simulated are splits of 400 images, a quarter for testing. It holds 95 % where a model answers an image alike
whichever split it was trained on, and more than that the more chance there is in the answers: it errs on the careful
side.

{chr(10).join(split_lines)}

Simulated by `python benchmarks/coverage.py`.
"""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "coverage.md").write_text(page)


if __name__ == "__main__":
    main()
