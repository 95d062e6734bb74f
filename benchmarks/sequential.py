"""Seeds until decided, simulated: error rates and seeds saved for several spending functions, against a fixed number.

python benchmarks/sequential.py
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from clce_bench.analysis.decisions import decide
from clce_bench.analysis.intervals import Interval, crossed_parts, half_width
from clce_bench.analysis.power import Spread, seeds_can_decide
from clce_bench.analysis.spending import SPENDING, Spending, levels, obrien_fleming, pocock, power_family
from clce_bench.analysis.variance_components import MeanSquares, mean_squares
from clce_bench.experiment.seed_rounds import SeedRounds
from clce_bench.seeds import seed_for

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
SCHEDULE = SeedRounds(first=3, step=2, most=11)
TRUTHS = (0.0, 0.5, 1.0, 2.0, 3.4)
MARGIN = 1.0
ALPHAS = (0.05, 0.005)
SPREADS = {
    "images matter": Spread(0, 250, 0.5, 50.0, 300.0),
    "seeds matter": Spread(0, 1000, 2.0, 30.0, 300.0),
    "little of either": Spread(0, 1000, 0.3, 30.0, 300.0),
}
"""Variances of one difference in points²; the seeds of a spread are those of a look."""
FUNCTIONS: dict[str, Spending] = {
    "O'Brien–Fleming-like": obrien_fleming,
    "Pocock-like": pocock,
    "power family, ρ = 1": power_family(1),
    "power family, ρ = 2": power_family(2),
    "power family, ρ = 3": power_family(3),
}
FIXED = "fixed: all seeds, one look"
Looks = list[tuple[int, NDArray[np.float64], MeanSquares]]
"""At each look: seeds, and of each simulated study the mean and the mean squares."""


class Outcome(NamedTuple):
    """How studies ended.

    Attributes:
        wrong: share of those with a false verdict.
        decided: share of those with any verdict but undecided.
        limited: share of those that stopped since no number of seeds could decide.
        seeds: how many they took on average.
    """

    wrong: float
    decided: float
    limited: float
    seeds: float


def simulate(name: str, truth: float, repeats: int) -> Looks:
    """Draws tables of seeds × test images of the largest size; each look sees the first seeds of them."""
    spread, counts = SPREADS[name], SCHEDULE.counts
    rng = np.random.default_rng(seed_for("sequential", spread=name, truth=str(truth)))
    found: list[list[tuple[float, MeanSquares]]] = [[] for _ in counts]
    shape = (counts[-1], spread.units)
    for _ in range(repeats):
        table = truth + spread.seed**0.5 * rng.normal(size=(shape[0], 1))
        table = table + spread.unit**0.5 * rng.normal(size=(1, shape[1])) + spread.rest**0.5 * rng.normal(size=shape)
        for look, count in zip(found, counts, strict=True):
            look.append((float(table[:count].mean()), mean_squares(table[:count])))
    means = [np.array([mean for mean, _ in look]) for look in found]
    squares = [MeanSquares(*np.transpose([one for _, one in look])) for look in found]
    return list(zip(counts, means, squares, strict=True))


def widths(looks: Looks, units: int, tails: list[float]) -> list[NDArray[np.float64]]:
    """Computes half the widths of all intervals of each look, with this probability beyond either end."""
    return [
        half_width(crossed_parts(squares, n, units), tail) for (n, _, squares), tail in zip(looks, tails, strict=True)
    ]


def run(looks: Looks, units: int, truth: float, alphas: list[float], stop_at_limit: bool) -> Outcome:
    """Goes through the looks of every study until it is decided, as clce_bench.analysis.rounds does.

    Args:
        looks: of :func:`simulate`.
        units: test images.
        truth: the true difference, in points.
        alphas: level of each look.
        stop_at_limit: whether to stop where no number of seeds can decide.
    """
    outer, inner = (widths(looks, units, [share * alpha for alpha in alphas]) for share in (0.5, 1.0))
    wrong = decided = limited = seeds = 0
    false = false_at(truth)
    repeats = len(looks[0][1])
    for study in range(repeats):
        for look, (n, means, squares) in enumerate(looks):
            mean = float(means[study])
            ends = [
                Interval(mean, mean - half, mean + half, n, np.nan) for half in (outer[look][study], inner[look][study])
            ]
            category = decide(ends[0], ends[1], MARGIN)
            if category != "undecided" or n == looks[-1][0]:
                break
            own = MeanSquares(*(float(values[study]) for values in squares))
            if stop_at_limit and not seeds_can_decide(spread_from(own, n, units), mean, MARGIN, 0.0, max(alphas)):
                limited += 1
                break
        seeds += n
        decided += category != "undecided"
        wrong += false(category)
    return Outcome(wrong / repeats, decided / repeats, limited / repeats, seeds / repeats)


def false_at(truth: float) -> Callable[[str], bool]:
    """Says which verdicts are false at a truth of zero or more."""
    wrong = (
        {"contradicted"} | ({"reproduced"} if truth <= 0 else set()) | ({"equivalent"} if truth >= MARGIN else set())
    )
    return lambda category: category in wrong


def spread_from(squares: MeanSquares, n: int, m: int) -> Spread:
    """Estimates a spread as clce_bench.analysis.power.spread_of does."""
    seed, unit = max(squares.seeds - squares.rest, 0) / m, max(squares.units - squares.rest, 0) / n
    return Spread(n, m, seed, unit, float(squares.rest))


@click.command()
@click.option("--repeats", default=1000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/sequential.md."""
    text, found = [], {}
    for alpha in ALPHAS:
        for name, spread in SPREADS.items():
            rows = []
            for truth in TRUTHS:
                looks = simulate(name, truth, repeats)
                outcomes = {FIXED: run(looks[-1:], spread.units, truth, [alpha], stop_at_limit=False)}
                for label, spending in FUNCTIONS.items():
                    outcomes[label] = run(looks, spread.units, truth, levels(alpha, SCHEDULE.counts, spending), True)
                for label, outcome in outcomes.items():
                    found[alpha, name, truth, label] = outcome
                    rows.append(f"| {truth:g} | {label} | {row_of(outcome)} |")
                    click.echo(f"{alpha} {name} {rows[-1]}", err=True)
            variances = f"{spread.units} images; variances {spread.seed:g}, {spread.unit:g}, {spread.rest:g}"
            text.append(f"\n## α = {alpha}, {name} ({variances})\n\n{HEAD}\n" + "\n".join(rows))
    errors = [100 * (alpha * (1 - alpha) / repeats) ** 0.5 for alpha in ALPHAS]
    page = PAGE.format(repeats=repeats, total="\n".join(totals(found)), errors=errors, today=date.today())
    (OUTPUT / "sequential.md").write_text(page + "\n".join(text) + "\n")


def totals(found: dict[tuple[float, str, float, str], Outcome]) -> Iterator[str]:
    """Yields a row per spending function over all levels, variances and truths.

    Args:
        found: by level, variances, truth and function.
    """
    for label in [FIXED, *FUNCTIONS]:
        own = {key: outcome for key, outcome in found.items() if key[-1] == label}
        worst = [100 * max(one.wrong for key, one in own.items() if key[0] == alpha) for alpha in ALPHAS]
        shares = [np.mean([one.decided for one in own.values()])]
        shares += [np.mean([saved(one) for key, one in own.items() if key[2] == truth]) for truth in TRUTHS]
        cells = [f"{value:.2f}" for value in worst] + [f"{100 * share:.0f}" for share in shares]
        used = " **(used)**" if is_used(label) else ""
        yield f"| {label}{used} | {' | '.join(cells)} |"


def saved(outcome: Outcome) -> float:
    """Returns the share of all seeds that were not trained."""
    return 1 - outcome.seeds / SCHEDULE.most


def row_of(outcome: Outcome) -> str:
    """Writes an outcome as cells of a table."""
    shares = (outcome.decided, outcome.limited)
    return " | ".join(
        [
            f"{100 * outcome.wrong:.2f}",
            *(f"{100 * share:.1f}" for share in shares),
            f"{outcome.seeds:.1f}",
            f"{100 * saved(outcome):.0f}",
        ]
    )


def is_used(label: str) -> bool:
    """Says whether claims use this function."""
    own = FUNCTIONS.get(label)
    return own is not None and all(abs(own(0.05, share) - SPENDING(0.05, share)) < 1e-12 for share in (0.3, 0.6, 1.0))


HEAD = """| true difference | spending | false % | decided % | stopped at the limit % | seeds | saved % |
| ---: | --- | ---: | ---: | ---: | ---: | ---: |"""
PAGE = """# Seeds until decided

A claim with the margin of 1 point, simulated: tables of 11 seeds × test images; looks at 3, 5, 7, 9 and 11 seeds see
the first rows. Each look makes the interval of [crossed effects](../statistics.md) at the level that it may spend, and
decides as verdicts do. {repeats:,} studies per row, the same for all spending functions. *False* is any verdict that
the truth rules out: *reproduced* or *contradicted* at 0, *contradicted* above, *equivalent* from 1 point on. *Stopped
at the limit*: no number of seeds can decide. *Saved* is the share of the 11 seeds that were not trained. {today}.

Over all tables below, in %: the largest share of false verdicts, the mean share of decided studies, and the mean share
of seeds that was saved, by the true difference in points:

| spending | false, α = 0.05 | false, α = 0.005 | decided | saved at 0 | at 0.5 | at 1 | at 2 | at 3.4 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{total}

All err at most α, up to the noise of the simulation: where α is the truth, {repeats:,} studies have standard errors of
{errors[0]:.2f} and {errors[1]:.2f}, and the largest of fifteen rows is shown. Levels that add up are careful, since
looks share seeds and test images: at the end fewer studies are decided than by one look at all seeds. Spending early
saves most where the effect is large, and leaves least for the last look where it is near the margin. Claims use the
power family with ρ = 2: it saves nearly as much as those that spend early, and decides nearly as often as those that
spend late.
"""

if __name__ == "__main__":
    main()
