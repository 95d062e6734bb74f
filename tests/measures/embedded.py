"""A cell with made-up embeddings, for tests of measures."""

import numpy as np

from clce_bench.evaluation.known_classes import Images
from clce_bench.measures.measure import Embedded

CLASSES, EACH, SIZE = 6, 20, 12


def embedded(folder, novel=False, logits=True):
    """Half of the images train, half test; with ``novel``, half of the classes do."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    rows = np.arange(len(labels))
    testing = labels >= CLASSES // 2 if novel else rows % EACH >= EACH // 2
    features = rng.normal(size=(len(rows), SIZE)) + rng.normal(size=(CLASSES, SIZE))[labels]
    scores = 2 * np.eye(CLASSES)[labels] + rng.normal(size=(len(rows), CLASSES))
    groups = np.array([f"group {row // 2}" for row in rows])
    images = Images(np.flatnonzero(~testing), np.array([], dtype=int), np.flatnonzero(testing), labels, groups)
    own = scores.astype("float32") if logits else None
    return Embedded(folder, {}, images, rows, features.astype("float32"), own)
