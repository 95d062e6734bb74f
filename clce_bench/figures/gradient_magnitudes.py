"""How strongly TCL pulls positives and pushes negatives at given k1 and k2, beside SupCon; and accuracy against k1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from clce_bench.analysis.summary_labels import metric_label
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.recipes import Recipe
from clce_bench.figures.shared_options import MetricFigure
from clce_bench.figures.source import Drawing, Embedded, Source
from clce_bench.figures.style import data_names, keep_to_percent, loss_style, sentence_figure
from clce_bench.files import read_json
from clce_bench.labels import value_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


IMAGES = 512
"""How many test images are compared at most; of more, every n-th."""


class GradientMagnitudes(MetricFigure):
    """Mean gradient magnitudes from positives and from negatives against k1, and accuracy against k1."""

    k1: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)] = [
        0.0,
        1.0,
        10.0,
        100.0,
        1000.0,
        5000.0,
        50000.0,
    ]
    """TCL's k1 at which gradients are measured."""
    k2: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)] = [1.0, 3.0]
    """TCL's k2 at which gradients are measured."""

    from_embeddings = True
    one_metric = True

    def lacking(self, cells: list[Cell]) -> str:
        """Needs a contrastive loss."""
        return "" if any(cell.contrastive_weight > 0 for cell in cells) else "it needs a cell with a contrastive loss."

    def draw(self, source: Source) -> Drawing:
        """Draws mean gradient magnitudes from positives and from negatives against k1, and accuracy against k1."""
        import matplotlib.pyplot as plt
        import pandas as pd

        classes, embedded = source.embedded()
        contrastive = [cell for cell in embedded if cell.row["lambda"] > 0]
        if not contrastive:
            return sentence_figure("No cell with a contrastive loss has finite embeddings.")
        # TCL's own network if there is one: its temperature is TCL's.
        cell = next((cell for cell in contrastive if cell.row["loss"] == "tcl"), contrastive[0])
        temperature = float(pd.to_numeric(cell.row.get("loss.temperature", np.nan), errors="coerce"))
        temperature = 0.1 if np.isnan(temperature) else temperature
        step = -(-len(classes) // IMAGES)
        table = magnitudes(project(cell)[::step], classes[::step], temperature, self.k1, self.k2)
        metrics = self.columns(source.rows)
        swept = bool(metrics) and source.rows.loc[source.rows["loss"] == "tcl", "loss.k1"].nunique() > 1
        figure, panels = plt.subplots(1, 2 + swept, figsize=(8 + 4 * swept, 3.6))
        for axes, side in zip(panels, ("positives", "negatives"), strict=False):
            _magnitudes(axes, table, side)
        accuracy = _accuracy(panels[2], source.rows, metrics[0]) if swept else pd.DataFrame()
        also = ", and accuracy against k1" if swept else ""
        figure.suptitle(f"{data_names(source.rows)}: gradients of TCL and SupCon{also}")
        right = " Right: accuracy of the trained TCL cells against their k1, with 95 % intervals." if swept else ""
        caption = (
            f"{data_names(source.rows)}: left and middle, the mean of |∂ℓ/∂s| over all pairs of an anchor with its "
            f"positives and with its negatives, for TCL at each k1 and k2 and for SupCon, temperature {temperature:g}, "
            f"all on the same projected embeddings of {len(classes[::step])} test images ({_settings(cell)}, "
            f"seed {cell.row['seed']}). TCL's theorems say that hard positives pull harder than in SupCon for k1, k2 ≥ "
            f"1, and negatives push harder as k2 grows.{right} The axis of k1 is linear below 1 and logarithmic above."
        )
        return Drawing(figure, pd.concat([table.assign(panel="gradient"), accuracy.assign(panel="accuracy")]), caption)


def _settings(cell: Embedded) -> str:
    """Names a cell's loss with λ and all its hyper-parameters."""
    import pandas as pd

    known = {name.removeprefix("loss."): value for name, value in cell.row.items() if name.startswith("loss.")}
    return ", ".join(
        [cell.label, *(f"{name} {value_label(value)}" for name, value in known.items() if pd.notna(value))]
    )


def project(cell: Embedded) -> NDArray[np.float32]:
    """Applies a cell's projection head to its features.

    Returns:
        What the contrastive loss sees, (images, projection_size).
    """
    import torch
    from safetensors.torch import load_file

    from clce_bench.models.heads import projection_head

    recipe = Recipe.model_validate(read_json(cell.path.with_name("cell.json"))["job"]["spec"]["recipe"])
    head = projection_head(recipe.projection, cell.features.shape[1], recipe.projection_size).eval()
    weights = load_file(cell.path.with_name("model.safetensors"))
    own = {name.removeprefix("projection."): value for name, value in weights.items() if name.startswith("projection.")}
    head.load_state_dict(own)
    with torch.no_grad():
        embeddings: NDArray[np.float32] = head(torch.from_numpy(cell.features)).numpy()
    return embeddings


def magnitudes(
    embeddings: NDArray[np.float32], classes: NDArray[np.str_], temperature: float, k1: list[float], k2: list[float]
) -> pd.DataFrame:
    """Measures mean gradient magnitudes.

    Args:
        embeddings: (images, d).
        classes: (images,).
        temperature: of both losses.
        k1: values for TCL.
        k2: values for TCL.

    Returns:
        A row per loss, k1 and k2 with ``positives`` and ``negatives``: the mean of |∂ℓ_i/∂s_ij| over the pairs of each
        kind, which is how far a unit vector z_j moves z_i.
    """
    import pandas as pd
    import torch

    from clce_bench.losses.core import ContrastiveLoss
    from clce_bench.losses.supcon import SupCon
    from clce_bench.losses.tcl import TCL

    torch.set_num_threads(1)  # The job's share of the machine.
    points, labels = torch.from_numpy(embeddings), torch.from_numpy(np.unique(classes, return_inverse=True)[1])
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool)
    losses: list[tuple[str, float, float, ContrastiveLoss]] = [("supcon", np.nan, np.nan, SupCon(temperature))]
    losses += [("tcl", one, two, TCL(temperature, one, two)) for two in k2 for one in k1]
    records = []
    for name, one, two, loss in losses:
        weights = loss.gradient_weights(points, labels).abs()
        means = {"positives": float(weights[positive].mean()), "negatives": float(weights[~same].mean())}
        records.append({"loss": name, "loss.k1": one, "loss.k2": two, **means})
    return pd.DataFrame(records)


def _magnitudes(axes: Axes, table: pd.DataFrame, side: str) -> None:
    styles = loss_style(["supcon", "tcl"])
    own = table[table["loss"] == "tcl"]
    lines = ["-", "--", "-.", ":"]
    for n, (k2, curve) in enumerate(own.groupby("loss.k2")):
        look = {**styles["tcl"], "label": f"TCL, k2 = {k2:g}", "linestyle": lines[n % 4], "marker": "vPX*"[n % 4]}
        axes.plot(curve["loss.k1"], curve[side], markersize=5, **look)
    level = float(table.loc[table["loss"] == "supcon", side].iloc[0])
    axes.axhline(level, color=styles["supcon"]["color"], linestyle="--", label="SupCon")
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(-0.5, 1.6 * max(own["loss.k1"].max(), 1))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("k1")
    axes.set_ylabel(f"mean gradient magnitude\nfrom {side}")
    axes.legend(fontsize=8)


def _accuracy(axes: Axes, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    from clce_bench.analysis.comparisons import compare

    own = rows[rows["loss"] == "tcl"]
    table = compare(own, metric).sort_values("loss.k1")
    style = loss_style(["tcl"])["tcl"]
    told = [
        name for name in ("dataset", "batch_size", "lambda", "loss.k2") if name in table and table[name].nunique() > 1
    ]
    for values, curve in table.groupby(told) if told else [((), table)]:
        label = ", ".join(
            ["TCL", *(f"{name.rpartition('.')[2]} {value}" for name, value in zip(told, values, strict=True))]
        )
        interval = [curve["mean"] - curve["low"], curve["high"] - curve["mean"]]
        axes.errorbar(curve["loss.k1"], curve["mean"], interval, capsize=2, markersize=5, **{**style, "label": label})
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("k1")
    axes.set_ylabel(metric_label(metric))
    keep_to_percent(axes)
    axes.legend(fontsize=8)
    return table
