"""How often intervals that promise 95 % hold the truth, by simulation, for the intervals in use and for others.

Simulated tables of seeds × units (test images or episodes) have effects of the seed, of the unit and a rest, in shares
of the variance of their mean that stand for the cases met in practice. Writes a table to docs/benchmarks/.

    python benchmarks/coverage.py
"""

from datetime import date
from pathlib import Path

import click
import numpy as np
import pandas as pd
from coverage_designs import FEW_SHOT, SIZES, few_shot_coverage, folds_coverage, groups_coverage
from coverage_tables import CASES, UNITS, false_alarms, floor_coverage, methods_coverage, splits_coverage

from clce_bench.seeds import seed_for

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks"
METHODS = ("crossed t", "without the floor", "Satterthwaite", "t over seeds", "plain bootstrap")


@click.command()
@click.option("--repeats", default=2000, show_default=True)
def main(repeats: int) -> None:
    """Simulate, and write docs/benchmarks/coverage.md."""
    rows = []
    for seeds in (3, 5, 10):
        for name, shares in CASES.items():
            for discrete in (False, True):
                rng = np.random.default_rng(seed_for("coverage", seeds=seeds, case=name, discrete=int(discrete)))
                held = methods_coverage(rng, repeats, seeds, shares, discrete)
                kind = "−1, 0, 1" if discrete else "normal"
                rows.append({"seeds": seeds, "variance from": name, "differences": kind, **held})
                click.echo(rows[-1], err=True)
    results = pd.DataFrame(rows)
    ranges = [
        [seeds, *(f"{100 * held[name].min():.1f} to {100 * held[name].max():.1f} %" for name in METHODS)]
        for seeds, held in results.groupby("seeds")[list(METHODS)]
    ]
    whole = [[*list(row.values())[:3], *(percent(row[name]) for name in METHODS)] for row in rows]
    floors = [
        [seeds, name, *map(percent, floor_coverage(400_000, seeds, shares))]
        for seeds in (3, 5)
        for name, shares in CASES.items()
        if shares[2]
    ]
    levels = (0.05, 0.01, 0.002)
    alarms = [
        [seeds, name]
        + [f"{own:.4f} / {other:.4f}" for own, other in (false_alarms(400_000, seeds, shares, at) for at in levels)]
        for seeds in (3, 5)
        for name, shares in CASES.items()
    ]
    splits = [
        [count, answers, *map(percent, splits_coverage(repeats, count, answers).values())]
        for count in (3, 5, 10)
        for answers in ("alike", "anew")
    ]
    few_shot = [
        [parts, seeds, name, *map(percent, few_shot_coverage(repeats // 4, parts, seeds, name))]
        for parts, seeds in ((1, 3), (4, 3), (4, 5))
        for name in FEW_SHOT
    ]
    folds = []
    for images in (80, 240, 480):
        for seeds in (3, 5):
            found = folds_coverage(repeats // 4, seeds, images)
            folds.append([images, seeds, *map(percent, found[:3]), f"{found.width:.1f} ×"])
            click.echo(folds[-1], err=True)
    groups = []
    for seeds in (3, 5):
        for name in SIZES:
            own, other, width = groups_coverage(repeats, seeds, name)
            groups.append([seeds, name, percent(own), percent(other), f"{width:.2f} ×"])
    error = 100 * (0.95 * 0.05 / repeats) ** 0.5
    page = PAGE.format(
        repeats=repeats,
        units=UNITS,
        error=error,
        today=date.today(),
        ranges=markdown(["seeds", *METHODS], ranges),
        whole=markdown(["seeds", "variance from", "differences", *METHODS], whole),
        floors=markdown(["seeds", "variance from", "such tables", "with the floor (in use)", "without"], floors),
        alarms=markdown(["seeds", "variance from", *(f"level {at} (in use / Satterthwaite)" for at in levels)], alarms),
        splits=markdown(["splits", "an image's answers", "corrected (in use)", "plain t over splits"], splits),
        few_shot=markdown(
            ["parts", "seeds", "variance from", "classes as units (in use)", "episodes as units"], few_shot
        ),
        quarter=repeats // 4,
        folds=markdown(
            [
                "images",
                "seeds",
                "in use, for these training sets",
                "in use, for others",
                "corrected, for others",
                "corrected ÷ in use, width",
            ],
            folds,
        ),
        groups=markdown(["seeds", "sizes of groups", "ratio estimator (in use)", "sums of groups", "width"], groups),
    )
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "coverage.md").write_text(page)


def percent(share: float) -> str:
    """Writes a share in per cent."""
    return f"{100 * share:.1f} %"


def markdown(head: list[str], rows: list[list[object]]) -> str:
    """Writes a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


PAGE = """# Coverage of the intervals

How often a 95 % interval holds the truth: {repeats:,} simulated tables of seeds × {units} test images per row, so that
a perfect interval scatters around 95 % by {error:.1f} points (one standard error). {today}.

The lowest and the highest coverage over the cases below:

{ranges}

*Crossed t* is in use: Student's t with the variance of two crossed random effects and the weighted quantile of Cochran
and Cox, with a floor under the mean square of the seeds. *Satterthwaite* takes one number of degrees of freedom for
both parts instead, and falls short where seeds and test images matter alike. *t over seeds* forgets that all seeds
share the test images, so its intervals speak of this test part only. *Plain bootstrap* resamples seeds and test images
(percentiles; a quarter of the tables): with few seeds it is too narrow where seeds matter, and too wide where neither
does, because resampling both counts the rest three times. It stands in `comparisons.csv` for those who ask for it; no
verdict rests on it.

{whole}

## The floor under the seeds

Where a few seeds agree better than chance allows, their mean square says that they hardly differ, and the interval
would be far too short. Here are only the tables whose mean square of seeds is below a third of that of the rest (of
400,000, normal differences); *in use* the interval is then at least that of seeds that make no difference.

{floors}

## Small p-values

Holm's correction and the shares of verdicts look at p-values much smaller than 0.05. How often a test finds a
difference where there is none (normal differences, 400,000 tables):

{alarms}

## Few-shot classes

Episodes of five of 11 novel classes with 26 images each, 1,000 per part, in one part or in four whose classes are
pooled; {quarter:,} experiments per row. The truth is that of other seeds, classes, images and episodes.

{few_shot}

## Parts that test in turn

Two classifiers, nearest class mean and linear discriminant analysis, trained on made-up points of four classes in four
parts that test in turn; a seed chooses which dimensions both see. {quarter:,} experiments per row. The interval *in
use* puts the points of all parts side by side and speaks of the networks of these training sets; the *corrected* one is
over the means of the parts, with the correction of Bouckaert and Frank, and speaks of other training sets too.

{folds}

## Groups of images

Accuracies of about 60 % on 150 groups of near-copies. The ratio estimator takes each group by its deviation from the
mean, sums of groups do not; *width* is that of the first over that of the second.

{groups}

## Repeated splits

When an experiment repeats the split, results share images. The interval in use corrects for that as Nadeau and Bengio
do; simulated are splits of 400 images, a quarter for testing. It holds 95 % where a model answers an image alike
whichever split it was trained on, and more than that the more chance there is in the answers: it errs on the careful
side.

{splits}

Simulated by `python benchmarks/coverage.py`.
"""


if __name__ == "__main__":
    main()
