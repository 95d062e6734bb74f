"""A data set for tests: the first 24 digits of each class."""

from dataclasses import replace

import numpy as np

from clce_bench.data.dataset import Images
from clce_bench.data.sources.digits import DIGITS, read_digits


def read_tiny(size: int) -> Images:
    images = read_digits(size)
    classes = np.array(images.classes)
    rows = np.sort(np.concatenate([np.flatnonzero(classes == name)[:24] for name in sorted(set(classes))]))
    chosen = [images.ids[row] for row in rows]
    return Images(images.pixels[rows], chosen, classes[rows].tolist(), chosen)


TINY = replace(DIGITS, name="tiny", images="tiny", read=read_tiny, train_images=144, image_count=240)
TINY_FEW_SHOT = replace(TINY, name="tiny-fs", task="few-shot")
