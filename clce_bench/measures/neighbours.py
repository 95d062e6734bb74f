"""Nearest neighbours: classification by those in the training part, and retrieval within the test part.

Retrieval (recall at 1, mean average precision at R: Musgrave, Belongie and Lim, arXiv 2003.08505) is also measured on
classes that training did not see, as metric learning does.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from clce_bench.evaluation.fewshot import unit_length
from clce_bench.evaluation.measured import Measured, at_most
from clce_bench.measures.measure import Embedded, per_image

NEIGHBOURS = 5
"""How many vote, by their closeness; classes of the smallest sets here have eight training images."""
RETRIEVED = 10_000
"""Test images, at most, among which is searched; of larger parts a random one, the same for all cells."""
CHUNK = 512


def measure_neighbours(cell: Embedded) -> Measured:
    """Measures ``knn_top1``, unless the classes are not those of training, ``recall_at_1`` and ``map_at_r``.

    Features have unit length: neighbours are near by cosine.
    """
    train, test, labels = cell.images.train, cell.images.test, cell.images.labels
    features, units = unit_length(cell.features), cell.test_units
    chosen = at_most(RETRIEVED, len(test), "retrieval")
    recall, precision = retrieval(features[test][chosen], labels[test][chosen], units[chosen])
    known = np.isfinite(precision)
    own = np.unique(units[chosen][known], return_inverse=True)[1]
    found = per_image({"recall_at_1": recall[known], "map_at_r": precision[known]}, own)
    if not np.isin(labels[test], labels[train]).all():
        return found
    vote = KNeighborsClassifier(min(NEIGHBOURS, len(train)), weights="distance", algorithm="brute")
    right = vote.fit(features[train], labels[train]).predict(features[test]) == labels[test]
    voted = per_image({"knn_top1": right}, units)
    return Measured({**voted.metrics, **found.metrics}, {**voted.arrays, **found.arrays})


def retrieval(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Searches with each image for the others of its class.

    Near-copies of the query are left out: to find them says nothing of its class.

    Args:
        features: of unit length, (images, d).
        labels: (images,).
        groups: of near-copies, (images,).

    Returns:
        Whether the nearest image has the query's class, and the average precision at R, where R is how many others have
        it: the mean of precision at each of the first R places that holds one, others counting 0. Both (images,); NaN
        where there are no others.
    """
    recall, average = np.full((2, len(labels)), np.nan)
    for start in range(0, len(labels), CHUNK):
        rows = slice(start, start + CHUNK)
        distant = -features[rows] @ features.T
        copies = groups[rows, None] == groups
        same = (labels[rows, None] == labels) & ~copies
        distant[copies] = np.inf
        relevant = same.sum(axis=1)
        hits = np.take_along_axis(same, np.argsort(distant, axis=1, kind="stable"), axis=1)[:, : max(relevant.max(), 1)]
        places = np.arange(1, hits.shape[1] + 1)
        precision = np.where(hits & (places <= relevant[:, None]), hits.cumsum(axis=1) / places, 0)
        searched = relevant > 0
        recall[rows][searched] = hits[searched, 0]
        average[rows][searched] = precision[searched].sum(axis=1) / relevant[searched]
    return recall, average
