"""Contact sheets: what was found in many pictures, a labelled row each, on as few pages as are readable."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE = (256, 192)  # pixels (width, height) that a picture is fitted into
GAP, MARGIN = 8, 24
HEADER, LABEL = 26, 28  # heights of the lines of text above a column and above a row
NARROWEST = 180  # pixels for a tile, so that there is room for words above
ROWS, COLUMNS = 6, 2  # most on a page
ALONE = 3  # rows that need no second column
INK, FAINT, PAPER, FRAME = (25, 25, 28), (110, 110, 116), (255, 255, 255), (228, 228, 232)


@dataclass(frozen=True)
class Row:
    """A picture's name, a few words about it, and its tiles: uint8 (h, w, 3), each no bigger than `TILE`."""

    name: str
    note: str
    tiles: list[np.ndarray]


def fitted(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a picture, scaled to fit `TILE`."""
    factor = min(TILE[1] / size[0], TILE[0] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def pages(rows: list[Row], heads: list[str]) -> list[Image.Image]:
    """Pages of up to 6 rows in up to 2 columns; `heads` say what the tiles of a row are."""
    tile = max(NARROWEST, *(tile.shape[1] for row in rows for tile in row.tiles))
    full = ROWS * COLUMNS
    return [_page(rows[start : start + full], heads, tile + GAP) for start in range(0, len(rows), full)]


def _page(rows, heads, step):
    """`step`: pixels from the left side of one tile to that of the next."""
    count = 1 if len(rows) <= ALONE else COLUMNS
    lines = -(-len(rows) // count)
    columns = [rows[start : start + lines] for start in range(0, len(rows), lines)]
    width = len(heads) * step - GAP
    height = 2 * MARGIN + HEADER + max(sum(_height(row) for row in column) for column in columns) - GAP
    page = Image.new("RGB", (len(columns) * (width + MARGIN) + MARGIN, height), PAPER)
    draw = ImageDraw.Draw(page)
    for place, column in enumerate(columns):
        left, top = MARGIN + place * (width + MARGIN), MARGIN
        for i, head in enumerate(heads):
            draw.text((left + i * step, top), head, FAINT, _font(13), anchor="lt")
        top += HEADER
        for row in column:
            _label(draw, row, left, top, width)
            for i, tile in enumerate(row.tiles):
                page.paste(Image.fromarray(tile), (left + i * step, top + LABEL))
            top += _height(row)
    return page


def _height(row):
    return LABEL + max(len(tile) for tile in row.tiles) + GAP


def _label(draw, row, left, top, width):
    draw.line((left, top, left + width - 1, top), FRAME)
    note = _shortened(row.note, _font(12), width // 2)
    space = width - _font(12).getlength(note) - 2 * GAP
    draw.text((left, top + LABEL // 2 + 1), _shortened(row.name, _font(14), space), INK, _font(14), anchor="lm")
    draw.text((left + width, top + LABEL // 2 + 1), note, FAINT, _font(12), anchor="rm")


def _shortened(text: str, font, width: float) -> str:
    """The text with an ellipsis in its middle if it is wider than that: both ends of file names tell them apart."""
    keep = len(text)
    short = text
    while keep > 2 and font.getlength(short) > width:
        keep -= 1
        short = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return short


def _font(size: int):
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
