"""Few-shot classification of episodes on frozen features."""

import numpy as np
from numpy.typing import NDArray

from clce_bench.data.episodes import EpisodeSet


def nearest_centroid(features: NDArray[np.float32], episodes: EpisodeSet) -> NDArray[np.float64]:
    """Classifies queries by the nearest mean of the support features, all episodes at once.

    Features are L2-normalised, centroids are plain means, distances Euclidean: prototypical networks' rule (Snell et
    al., arXiv 1703.05175) on unit features.

    Args:
        features: (images, d).
        episodes: rows of images.

    Returns:
        The accuracy of each episode, (episodes,), in [0, 1].
    """
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    accuracies = np.empty(len(episodes.support))
    way = episodes.support.shape[1]
    for start in range(0, len(accuracies), 250):  # Bounds the memory of the gathered features.
        chunk = slice(start, start + 250)
        centroids = unit[episodes.support[chunk]].mean(axis=2)
        queries = unit[episodes.query[chunk]].reshape(len(centroids), -1, unit.shape[1])
        scores = 2 * queries @ centroids.transpose(0, 2, 1) - (centroids**2).sum(axis=2)[:, None, :]
        truth = np.repeat(np.arange(way), episodes.query.shape[2])
        accuracies[chunk] = (scores.argmax(axis=2) == truth).mean(axis=1)
    return accuracies
