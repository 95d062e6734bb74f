"""How often intervals hold the truth: few-shot classes, parts that test in turn, groups of images.

`coverage.py` runs these simulations and writes the page.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clce_bench.analysis.intervals import class_parts, crossed_interval, half_width, split_interval
from clce_bench.analysis.unit_outcomes import ratio_values
from clce_bench.analysis.variance_components import class_variances
from clce_bench.seeds import seed_for

CLASSES, IMAGES, EPISODES, WAY = 11, 26, 1000, 5
FEW_SHOT = {
    "classes": (1.0, 0.0, 0.0, 0.0, 0.0),
    "images": (0.0, 1.0, 0.0, 0.0, 0.0),
    "episodes": (0.0, 0.0, 1.0, 0.0, 0.0),
    "seeds": (0.0, 0.0, 0.3, 1.0, 0.0),
    "classes, other ones at each seed": (0.3, 0.3, 0.3, 0.0, 1.0),
    "all alike": (0.5, 1.5, 3.0, 0.5, 0.5),
}
"""Standard deviations of classes, of images within them, of episodes (shared and by seed), seeds, classes by seed."""


def few_shot_coverage(repeats: int, parts: int, seeds: int, name: str) -> tuple[float, float]:
    """Simulates few-shot results: of each class 26 images, of which episodes draw.

    Args:
        repeats: experiments.
        parts: how many have novel classes of their own.
        seeds: of each.
        name: where the variance comes from.

    Returns:
        How often the interval over classes holds the truth, and that which takes episodes for independent.
    """
    rng = np.random.default_rng(seed_for("coverage of few-shot intervals", parts=parts, seeds=seeds, case=name))
    of_class, of_image, of_episode, of_seed, of_both = FEW_SHOT[name]
    members = [rng.permuted(np.tile(np.arange(CLASSES), (EPISODES, 1)), axis=1)[:, :WAY] for _ in range(parts)]
    ways = np.concatenate([own + CLASSES * part for part, own in enumerate(members)])
    m, count, held = CLASSES * parts, len(ways), np.zeros(2)
    for _ in range(repeats):
        images = of_class * rng.normal(size=(m, 1)) + of_image * rng.normal(size=(m, IMAGES))
        table = images[ways, rng.integers(IMAGES, size=ways.shape)].mean(axis=1) + of_episode * rng.normal(size=count)
        table = table + of_seed * rng.normal(size=(seeds, 1)) + of_both * rng.normal(size=(seeds, m))[:, ways].mean(2)
        table = table + of_episode * rng.normal(size=(seeds, count))
        over_classes = half_width(class_parts(class_variances(table, ways), seeds, m, count), 0.025)
        over_episodes = crossed_interval(table)
        held += [abs(table.mean()) <= over_classes, over_episodes.low <= 0 <= over_episodes.high]
    return float(held[0]) / repeats, float(held[1]) / repeats


DIMENSIONS, KINDS, PARTS, KEPT = 12, 4, 4, 8
FRESH_SEEDS, FRESH_IMAGES = 20, 2000


class Folds(NamedTuple):
    """Shares of simulated experiments whose interval holds the truth.

    Attributes:
        same: the interval over seeds and images, for the training sets at hand.
        plain: the same interval, for other training sets.
        corrected: the interval over parts, for other training sets.
        width: of the corrected interval over that of the other, the median.
    """

    same: float
    plain: float
    corrected: float
    width: float


def folds_coverage(repeats: int, seeds: int, images: int) -> Folds:
    """Trains two real classifiers on made-up data, in four parts that test in turn.

    Nearest class mean and linear discriminant analysis classify points of four Gaussian classes; a seed chooses the
    dimensions that both see. The truth for other training sets is the mean over all simulated experiments, measured on
    fresh points; that for the ones at hand is measured with fresh points and fresh seeds.

    Args:
        repeats: experiments.
        seeds: of each.
        images: points, of which three quarters train.
    """
    rng = np.random.default_rng(seed_for("coverage of parts in turn", seeds=seeds, images=images))
    centres = 0.9 * np.random.default_rng(0).normal(size=(KINDS, DIMENSIONS))
    mixing = np.random.default_rng(1).normal(size=(DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5 + np.eye(DIMENSIONS)

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        labels = np.arange(count) % KINDS
        return (centres[labels] + rng.normal(size=(count, DIMENSIONS))) @ mixing, labels

    found, truths = [], []
    part = np.arange(images) // KINDS % PARTS
    for _ in range(repeats):
        points, labels = draw(images)
        table, means, beyond = np.zeros((seeds, images)), np.zeros((seeds, PARTS)), []
        for seed in range(seeds + FRESH_SEEDS):
            kept, fresh = rng.permutation(DIMENSIONS)[:KEPT], draw(FRESH_IMAGES)
            for own in range(PARTS):
                train, test = part != own, part == own
                where = (points[test], labels[test]) if seed < seeds else fresh
                gain = 100 * _gains(points[train][:, kept], labels[train], where[0][:, kept], where[1])
                if seed < seeds:
                    table[seed, test], means[seed, own] = gain, gain.mean()
                else:
                    beyond.append(gain.mean())
        found.append((crossed_interval(table), split_interval(means.mean(axis=0), 1 / (PARTS - 1), seeds)))
        truths.append(np.mean(beyond))
    truth = float(np.mean(truths))
    same = np.mean([one.low <= own <= one.high for (one, _), own in zip(found, truths, strict=True)])
    plain, corrected = np.mean([[one.low <= truth <= one.high for one in pair] for pair in found], axis=0)
    width = np.median([(wide.high - wide.low) / (one.high - one.low) for one, wide in found])
    return Folds(float(same), float(plain), float(corrected), float(width))


def _gains(
    train: NDArray[np.float64], labels: NDArray[np.int64], test: NDArray[np.float64], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Says of each point whether discriminant analysis is right minus whether the nearest mean is."""
    means = np.stack([train[labels == kind].mean(axis=0) for kind in range(KINDS)])
    centred = train - means[labels]
    inverse = np.linalg.inv(centred.T @ centred / len(train) + 0.05 * np.eye(train.shape[1]))

    def right(metric: NDArray[np.float64]) -> NDArray[np.bool_]:
        scores = test @ metric @ means.T - (means @ metric * means).sum(axis=1) / 2
        return np.asarray(scores.argmax(axis=1) == truth)

    return right(inverse).astype(float) - right(np.eye(train.shape[1]))


GROUPS = 150
SIZES = {"alike": 0.0, "uneven": 0.7, "very uneven": 1.2}
"""Spread of the logarithm of the sizes of groups."""


def groups_coverage(repeats: int, seeds: int, name: str) -> tuple[float, float, float]:
    """Simulates accuracies of about 60 % on images that come in groups of near-copies.

    Args:
        repeats: experiments.
        seeds: of each.
        name: how much the sizes of groups differ.

    Returns:
        How often the interval by the ratio estimator holds the truth, how often that by sums of groups, and the median
        width of the first over that of the second.
    """
    rng = np.random.default_rng(seed_for("coverage of groups", seeds=seeds, case=name))
    held, ratios = np.zeros(2), []
    for _ in range(repeats):
        sizes = np.ceil(3 * np.exp(SIZES[name] * rng.normal(size=GROUPS)))
        chances = 60 + 25 * rng.normal(size=GROUPS) + 1.5 * rng.normal(size=(seeds, 1))
        # The rest is that of single images: it averages out in large groups.
        accuracies = chances + 30 * rng.normal(size=(seeds, GROUPS)) / np.sqrt(sizes)
        scaled = sizes / sizes.mean()
        found = [crossed_interval(table) for table in (ratio_values(accuracies * scaled, scaled), accuracies * scaled)]
        held += [one.low <= 60 <= one.high for one in found]
        ratios.append((found[0].high - found[0].low) / (found[1].high - found[1].low))
    return float(held[0]) / repeats, float(held[1]) / repeats, float(np.median(ratios))
