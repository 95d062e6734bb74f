"""Small pictures of an effect with its interval, as SVG that takes the page's own colours and width."""

from collections.abc import Iterable
from math import ceil, floor, log10
from typing import NamedTuple

from markupsafe import Markup, escape

_HEIGHT = 24


class Scale(NamedTuple):
    """The axis that pictures of one table share.

    Attributes:
        low: its left end.
        high: its right end.
        step: between two ticks.
    """

    low: float
    high: float
    step: float

    @property
    def ticks(self) -> list[float]:
        """The values that are marked."""
        return [n * self.step for n in range(round(self.low / self.step), round(self.high / self.step) + 1)]

    @property
    def signed_ticks(self) -> list[tuple[str, float]]:
        """The values that are marked, with their sign, and their places."""
        return [(f"{'+' * (tick > 0)}{tick:g}".replace("-", "−"), self.place(tick)) for tick in self.ticks]

    def place(self, value: float) -> float:
        """Returns where a value lies, from 0 to 100; what is outside is at the edge."""
        return 100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def scale_of(values: Iterable[float | None]) -> Scale:
    """Chooses an axis with zero and round ticks for these values; ``None`` and NaN do not count."""
    return round_scale([*values, 0.0])


def round_scale(values: Iterable[float | None]) -> Scale:
    """Chooses an axis with round ticks for these values, at least one of which counts."""
    known = [value for value in values if value is not None and value == value]
    low, high = min(known), max(known)
    width = (high - low) or 1.0
    rough = width / 6
    power = 10.0 ** floor(log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
    return Scale(step * floor(low / step), step * max(ceil(high / step), floor(low / step) + 1), step)


def forest(
    scale: Scale,
    effect: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    margin: float | None = None,
    size: float | None = None,
    label: str = "",
) -> Markup:
    """Draws an effect as a dot, its interval as a line, zero, a band for the margin, and a tick for a claimed size.

    Args:
        scale: the axis.
        effect: nothing but the axis is drawn without one.
        low: lower end of its interval.
        high: upper end.
        margin: the smallest difference that matters, on both sides of zero.
        size: what a paper states.
        label: what readers of the screen hear, and who points at it sees.
    """
    shapes = []
    if margin:
        left, right = scale.place(-margin), scale.place(margin)
        shapes.append(f'<rect class="margin" x="{left:.2f}" y="0" width="{right - left:.2f}" height="{_HEIGHT}"/>')
    shapes.append(line("zero", scale.place(0), 0, scale.place(0), _HEIGHT))
    if size is not None:
        shapes.append(line("size", scale.place(size), 4, scale.place(size), _HEIGHT - 4))
    if effect is not None and effect == effect:
        middle = _HEIGHT / 2
        clear = ""
        if low is not None and high is not None and low == low and high == high:
            clear = " clear" if low > 0 or high < 0 else ""
            shapes.append(line(f"interval{clear}", scale.place(low), middle, scale.place(high), middle))
        # A line without length, but with round ends, stays a circle however wide the picture is.
        shapes.append(line(f"dot{clear}", scale.place(effect), middle, scale.place(effect), middle))
    told = f' role="img" aria-label="{escape(label)}">' if label else ' aria-hidden="true">'
    return Markup(  # Numbers, and a label that is escaped.
        f'<svg class="forest" viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none"{told}{"".join(shapes)}</svg>'
    )


def axis(ticks: Iterable[tuple[str, float]]) -> Markup:
    """Writes the axis under pictures.

    Args:
        ticks: a label and its place in per cent.
    """
    spans = (f'<span style="left: {place:.2f}%">{escape(label)}</span>' for label, place in ticks)
    return Markup(f'<div class="axis" aria-hidden="true">{"".join(spans)}</div>')


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Draws a line; without length, but with round ends, it is a dot."""
    return f'<line class="{kind}" x1="{x1:.2f}" y1="{y1:g}" x2="{x2:.2f}" y2="{y2:g}"/>'
