"""Test images of up to twenty classes in two dimensions (t-SNE), loss by loss, from the same start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clce_bench.figures.shared_options import ClassFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, sentence_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray


CLASSES = 20
IMAGES = 2000
"""How many images are shown at most; of more, every n-th."""
_PLATE = {"boxstyle": "round,pad=0.15", "facecolor": "#ffffff", "alpha": 0.75, "linewidth": 0}
_MARKERS = "osDv"
# Okabe and Ito's palette, distinguishable with any colour vision.
_COLORS = ["#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7"]


class TSNE(ClassFigure):
    """A panel per cell; each class has its name at its centre."""

    def draw(self, source: Source) -> Drawing:
        """Draws a panel per cell; each class has its name at its centre."""
        import matplotlib.pyplot as plt
        import pandas as pd

        classes, embedded = source.embedded()
        chosen, missing = self.chosen(classes, CLASSES)
        shown = np.flatnonzero(np.isin(classes, chosen))
        shown = shown[:: -(-len(shown) // IMAGES)]
        if not embedded or len(shown) < 5:
            return sentence_figure("t-SNE needs finite embeddings of at least five test images.")
        size = (4.6 * len(embedded), 4.6)
        figure, panels = plt.subplots(1, len(embedded), figsize=size, squeeze=False)
        records = []
        for axes, cell, places in zip(panels[0], embedded, maps([c.features[shown] for c in embedded]), strict=True):
            for n, name in enumerate(chosen):
                # No two of up to 28 classes share both colour and shape.
                look = {"color": _COLORS[n % 7], "marker": _MARKERS[(n // 7 + n % 7) % 4]}
                own = places[classes[shown] == name]
                axes.scatter(*own.T, s=12, alpha=0.75, linewidth=0, rasterized=True, **look)
                axes.annotate(name, np.median(own, axis=0), ha="center", va="center", fontsize=8, bbox=_PLATE)
            axes.set_title(cell.label)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.spines[:].set_visible(True)
            table = pd.DataFrame(
                {"cell": cell.row["cell"], "class": classes[shown], "x": places[:, 0], "y": places[:, 1]}
            )
            records.append(table)
        figure.suptitle(
            f"{data_names(source.rows)}: t-SNE of the test images" + "".join(f"\n{text}" for text in missing)
        )
        first = embedded[0].row
        caption = (
            f"{data_names(source.rows)}: t-SNE of {len(shown)} test images of {len(chosen)} classes, from the "
            f"L2-normalised features of one trained network per panel, seed {first['seed']}, batch "
            f"{first['batch_size']}. All panels start from the same positions (the principal components of the first "
            "one's features), so that they differ by the features alone. Distances between clusters and their sizes "
            "mean little in t-SNE; whether classes mix does."
        )
        return Drawing(figure, pd.concat(records, ignore_index=True), " ".join([caption, *missing]))


def maps(features: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Lays images out in the plane once per network, always from the same start.

    Args:
        features: (images, d) per network, d ≥ 2.

    Returns:
        (images, 2) per network.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE as Layout
    from threadpoolctl import threadpool_limits

    units = [matrix / np.linalg.norm(matrix, axis=1, keepdims=True).clip(1e-12) for matrix in features]
    start = PCA(n_components=2, svd_solver="full").fit_transform(units[0])
    start = (start / start[:, 0].std().clip(1e-12) * 1e-4).astype(np.float32)
    perplexity = min(30, (len(start) - 1) / 3)
    # Threads that wait for each other on a busy machine take many times as long as one.
    with threadpool_limits(limits=1):
        return [Layout(perplexity=perplexity, init=start, random_state=0).fit_transform(unit) for unit in units]
