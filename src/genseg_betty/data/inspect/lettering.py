"""Text on the contact sheet: its font, cut to the width that there is, and readable in every script."""

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")  # DejaVu: Latin, Greek, Cyrillic, Arabic and more
FACE = "DejaVuSans.ttf"
BOLD = "DejaVuSans-Bold.ttf"
ELLIPSIS = "…"


@cache
def load_font(face: str = FACE, size: int = 12) -> ImageFont.FreeTypeFont:
    """The font of that file and of that size in pixels."""
    return ImageFont.truetype(str(FONTS / face), size)


def fit_text(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text as it can be drawn, cut in the middle to that many pixels."""
    whole = escape_glyphs(text)
    if font.getlength(whole) <= width:
        return whole
    # No letter is narrower than a pixel. From then on each cut takes one letter more.
    length = min(len(whole), width)
    shortened = _cut_middle(whole, length)
    while font.getlength(shortened) > width:
        length = len(shortened) - 2
        shortened = _cut_middle(whole, length)
    return shortened


def _cut_middle(text: str, length: int) -> str:
    """The text with an ellipsis in the place of its middle; `length` counts the ellipsis."""
    before = length // 2
    behind = length - 1 - before
    end = text[len(text) - behind :]
    return f"{text[:before]}{ELLIPSIS}{end}"


def escape_glyphs(text: str) -> str:
    """The text with what the font has no sign for (Chinese, control characters) as its code, \\u60a3."""
    return "".join(map(_escape_letter, text))


def _escape_letter(letter: str) -> str:
    if ord(letter) in _find_signs() and letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode()


@cache
def _find_signs() -> frozenset[int]:
    """The code points that the font has a sign for."""
    font = FT2Font(str(FONTS / FACE))
    return frozenset(font.get_charmap())
