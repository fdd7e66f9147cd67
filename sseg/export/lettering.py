"""Phrases as they can be drawn: a font for them, no control characters, an ellipsis where they are long."""

import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont, features

from sseg.phrases import clean

_FILE = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # Latin, Greek, Cyrillic, Arabic, Hebrew ...
_RIGHT_TO_LEFT = ("R", "AL", "AN")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font in a size of pixels."""
    return ImageFont.truetype(_FILE, size)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(str(_FILE)).get_charmap())


def drawable(text: str) -> bool:
    """Whether the font has every character of a text, and Pillow can put them in order."""
    if not all(ord(character) in _characters() for character in text):
        return False
    turned = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)
    return not turned or bool(features.check("raqm") and features.check("fribidi"))


def names(phrases: list[str]) -> list[str | None]:
    """Each phrase as plain text; None for one that would come out as boxes."""
    texts = [clean(phrase) for phrase in phrases]
    return [text if text and drawable(text) else None for text in texts]


def shortened(text: str, size: int, width: float) -> str:
    """The text, or its beginning and an ellipsis if it is wider than that many pixels."""
    if font(size).getlength(text) <= width:
        return text
    low, high = 0, len(text)  # by halves: a phrase has up to 200 characters
    while low < high:
        middle = (low + high + 1) // 2
        if font(size).getlength(text[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"
