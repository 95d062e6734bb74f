"""Figures for phones: panels one below the other, nothing cut off, nothing without its labels."""

from itertools import pairwise

import matplotlib.pyplot as plt
import pytest

from clce_bench.figures.narrow import WIDTH, make_narrow
from clce_bench.figures.style import legend_below, use_style


def drawn(rows, columns, losses):
    use_style()
    canvas, panels = plt.subplots(
        rows, columns, figsize=(4 * columns, 3 * rows), squeeze=False, sharex=True, sharey="row"
    )
    for axes in panels.flat:
        for loss in range(losses):
            axes.plot([1, 2, 3], [loss, loss + 1, loss], label=f"A loss with a name, λ = 0.{loss}")
    for place, axes in enumerate(panels[0]):
        axes.set_title(f"data set {place}")
    for axes in panels[:, 0]:
        axes.set_ylabel("test top-1 (%)")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    canvas.suptitle("A title that is far too long for a phone and therefore needs a second line, or even a third")
    legend_below(canvas, panels[0, 0])
    return canvas


@pytest.mark.parametrize(("rows", "columns", "losses"), [(1, 1, 2), (1, 3, 5), (2, 2, 3)])
def test_panels_are_one_below_the_other_with_labels_of_their_own_and_nothing_is_cut_off(rows, columns, losses):
    canvas = drawn(rows, columns, losses)
    make_narrow(canvas)
    canvas.draw_without_rendering()
    assert canvas.get_size_inches()[0] == WIDTH
    boxes = [axes.get_window_extent() for axes in canvas.axes]
    assert len(boxes) == rows * columns
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(boxes))
    for axes in canvas.axes:
        assert axes.get_ylabel() == "test top-1 (%)"
        assert axes.get_xlabel() == "epoch"
        assert axes.get_title().startswith("data set")
        assert any(tick.label1.get_visible() and tick.label1.get_text() for tick in axes.yaxis.get_major_ticks())
    whole = canvas.bbox.padded(1)
    (legend,) = canvas.legends
    for part in [*canvas.axes, legend, canvas._suptitle]:
        box = part.get_tightbbox() if part in canvas.axes else part.get_window_extent()
        assert whole.x0 <= box.x0, part
        assert box.x1 <= whole.x1, part
        assert whole.y0 <= box.y0, part
        assert box.y1 <= whole.y1, part
    plt.close(canvas)


def test_the_order_is_that_of_reading():
    canvas = drawn(2, 2, 2)
    before = list(canvas.axes)
    make_narrow(canvas)
    canvas.draw_without_rendering()
    assert sorted(canvas.axes, key=lambda axes: -axes.get_window_extent().y0) == before
    plt.close(canvas)
