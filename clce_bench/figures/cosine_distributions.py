"""Cosine similarities of chosen classes' images to their own class and to all others, loss by loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clce_bench.figures.shared_options import ClassFigure
from clce_bench.figures.source import Drawing, Source
from clce_bench.figures.style import data_names, sentence_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_EDGES = np.linspace(-1, 1, 81)
_SIDES = {"positives": ("#0072B2", "same class", "-"), "negatives": ("#D55E00", "other classes", "--")}


class CosineDistributions(ClassFigure):
    """A row per class and a column per cell: the two distributions and their means."""

    def draw(self, source: Source) -> Drawing:
        """Draws a row per class and a column per cell: the two distributions and their means."""
        import matplotlib.pyplot as plt
        import pandas as pd

        classes, embedded = source.embedded()
        if not embedded:
            return sentence_figure("None of the cells has finite embeddings.")
        chosen, missing = self.chosen(classes, most=0)
        why = ""
        if not chosen:
            chosen = extremes(embedded[0].features, classes)
            why = f" Shown are the classes that {embedded[0].label} sets apart best and worst."
        shape = (len(chosen), len(embedded))
        size = (3.2 * shape[1] + 0.6, 2.3 * shape[0] + 1.0)
        figure, panels = plt.subplots(*shape, figsize=size, squeeze=False, sharex=True, sharey="row")
        records = []
        for column, cell in enumerate(embedded):
            unit = _unit(cell.features)
            panels[0, column].set_title(cell.label)
            for axes, name in zip(panels[:, column], chosen, strict=True):
                for side, values in _similarities(unit, classes == name).items():
                    density = _curve(axes, values, side)
                    setting = {"cell": cell.row["cell"], "loss": cell.row["loss"], "lambda": cell.row["lambda"]}
                    bins = {"low": _EDGES[:-1], "high": _EDGES[1:], "density": density}
                    about = {"class": name, "pairs": side, "mean": values.mean() if len(values) else np.nan}
                    records.append(pd.DataFrame({**setting, **about, **bins}))
        for axes, name in zip(panels[:, 0], chosen, strict=True):
            axes.set_ylabel(f"class {name}\ndensity")
        data = pd.concat(records, ignore_index=True)
        for axes in panels[-1]:
            axes.set_xlabel("cosine similarity")
            axes.set_xlim(np.floor(5 * data.loc[data["density"] > 0, "low"].min()) / 5, 1)
        panels[0, 0].legend(fontsize=8)
        figure.suptitle(
            f"{data_names(source.rows)}: how close a class's images are" + "".join(f"\n{text}" for text in missing)
        )
        caption = (
            f"{data_names(source.rows)}: cosine similarities between test images of one class (same class) and from "
            "them to all other test images (other classes), in the features of one trained network per column, seed "
            f"{embedded[0].row['seed']}, batch {embedded[0].row['batch_size']}. Vertical lines are means: the further "
            f"apart, the better the class stands out.{why}"
        )
        return Drawing(figure, data, " ".join([caption, *missing]))


def extremes(features: NDArray[np.float32], classes: NDArray[np.str_]) -> list[str]:
    """Finds the classes with the largest and the smallest distance of mean cosines, to their own images and to others.

    Args:
        features: (images, d).
        classes: (images,).

    Returns:
        Two names, or as many as there are with two images at least.
    """
    unit = _unit(features)
    apart: dict[str, float] = {}
    for name in np.unique(classes).tolist():
        own, others = unit[classes == name], unit[classes != name]
        if len(own) > 1 and len(others):
            total, count = own.sum(axis=0), len(own)
            # The mean over pairs from sums of vectors: no matrix of all pairs is needed.
            within = (total @ total - (own * own).sum()) / (count * (count - 1))
            apart[name] = float(within - total @ others.sum(axis=0) / (count * len(others)))
    return list(dict.fromkeys([max(apart, key=apart.__getitem__), min(apart, key=apart.__getitem__)])) if apart else []


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return np.asarray(features / lengths, dtype=np.float32)


def _similarities(unit: NDArray[np.float32], members: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    own = unit[members]
    within = (own @ own.T)[np.triu_indices(len(own), k=1)]
    return {"positives": within, "negatives": (own @ unit[~members].T).ravel()}


def _curve(axes: Axes, values: NDArray[np.float32], side: str) -> NDArray[np.float64]:
    color, label, line = _SIDES[side]
    if not len(values):
        return np.full(len(_EDGES) - 1, np.nan)
    counts, _ = np.histogram(values.clip(-1, 1), _EDGES)
    density: NDArray[np.float64] = counts / (counts.sum() * np.diff(_EDGES))
    axes.stairs(density, _EDGES, color=color, linestyle=line, linewidth=1.4, fill=False, label=label)
    axes.stairs(density, _EDGES, color=color, alpha=0.15, fill=True)
    axes.axvline(float(values.mean()), color=color, linestyle=line, linewidth=0.9)
    return density
