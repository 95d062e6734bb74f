"""Texts of any script in figures: fonts that have their signs, and code points where no installed font has them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_readable(canvas: Figure) -> None:
    """Gives every text of a figure the fonts that it needs; a sign that no font has becomes its code point, U+1F600.

    Args:
        canvas: a finished figure.
    """
    from matplotlib.text import Text

    for text in canvas.findobj(Text):
        assert isinstance(text, Text)
        strange = [sign for sign in dict.fromkeys(text.get_text()) if not sign.isascii()]
        fonts = {sign: font for sign in strange if (font := _font_with(ord(sign)))}
        text.set_text("".join(sign if sign.isascii() or sign in fonts else _code(sign) for sign in text.get_text()))
        text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), *fonts.values()])))


def _code(sign: str) -> str:
    # Joiners and selectors only say how the signs beside them look.
    return "" if sign in "\u200d\ufe0e\ufe0f" else f"U+{ord(sign):04X}"


@cache
def _font_with(code: int) -> str:
    """Names a font that has a sign, the figures' own first; empty if there is none."""
    from matplotlib import rcParams
    from matplotlib.font_manager import fontManager

    own = rcParams["font.family"]
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name not in own, entry.name)):
        if code in _signs(entry.fname):
            return str(entry.name)
    return ""


@cache
def _signs(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()  # A font that cannot be read has no signs.
