"""Big pictures a band of rows at a time: upright, in 8 bits, on white and scaled down, with little memory besides."""

import math
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, ImageOps

from sseg.images import levels

PIXELS = 300_000  # of a band, about
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def array(image: Image.Image) -> np.ndarray:
    """The pixels (H, W, 3) of an RGB picture, without the two copies that Pillow makes of all of them."""
    out, top = np.empty((image.height, image.width, 3), np.uint8), 0
    for rows in _rows(image):
        out[top : top + len(rows)] = rows
        top += len(rows)
    return out


def grey(image: Image.Image) -> Image.Image:
    """A picture of integers or floats in 8 bits."""
    how, out, top = levels_of(image), np.empty((image.height, image.width), np.uint8), 0
    for values in _rows(image):
        out[top : top + len(values)] = levels.eight_bits(values, *how)
        top += len(values)
    return Image.fromarray(out)


def levels_of(image: Image.Image):
    """What `levels.levels` says of a whole image, read row by row."""
    integers = image.mode.startswith("I")
    return levels.levels(_rows(image), integers, levels.no_data(image))


def _rows(image) -> Iterator[np.ndarray]:
    step = max(1, PIXELS // image.width)
    for top in range(0, image.height, step):
        yield np.asarray(image.crop((0, top, image.width, min(top + step, image.height))))


def orientation(image: Image.Image) -> int:
    """EXIF's 1..8; 1 where it has none that can be read. From 5 on, stored rows are columns."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    except Exception:  # broken EXIF data: the picture itself is fine
        return 1


def upright(image: Image.Image) -> Image.Image:
    """The image as it was taken: turned as its EXIF data say."""
    try:
        return ImageOps.exif_transpose(image) if orientation(image) != 1 else image
    except Exception:  # as above
        return image


def scaled_size(a: int, b: int, most: int) -> tuple[int, int]:
    """Two sides with at most `most` pixels, in proportion."""
    factor = (a * b / most) ** 0.5
    return (a, b) if factor <= 1 else (max(1, int(a / factor)), max(1, int(b / factor)))


def reduced(image: Image.Image, most: int, rgb) -> np.ndarray:
    """uint8 (h, w, 3) of at most `most` pixels: what turning the whole picture upright, `rgb` and
    `Image.resize(BILINEAR, reducing_gap=2)` give, but for one level where roundings differ.

    rgb: makes RGB of a picture of 8 bits.
    """
    turn = orientation(image)
    width, height = image.size[::-1] if turn >= 5 else image.size
    out_width, out_height = scaled_size(width, height, most)
    across, down = width / out_width, height / out_height
    early = image.mode in ("L", "RGB", "RGBA", "CMYK")  # scaled down before it becomes RGB
    reduce = (1, 1) if image.mode == "RGBA" else (int(across / 2) or 1, int(down / 2) or 1)
    how = levels_of(image) if levels.needs_levels(image) else None
    out = np.empty((out_height, out_width, 3), np.uint8)
    step = max(1, int(PIXELS / (width * down)))
    for top in range(0, out_height, step):
        bottom = min(top + step, out_height)
        if out_height == height:  # nothing to scale down
            first, last = top, bottom
        else:
            first = max(0, math.floor((top - 1) * down) - 1) // reduce[1] * reduce[1]
            last = min(height, (math.ceil((bottom + 1) * down) // reduce[1] + 1) * reduce[1])
        band = _band(image, first, last, turn)
        if how:
            band = Image.fromarray(levels.eight_bits(np.asarray(band), *how))
        band = (band if early else rgb(band)).reduce(reduce)
        box = (0, (top * down - first) / reduce[1], width / reduce[0], (bottom * down - first) / reduce[1])
        if (out_width, out_height) != (width, height):
            band = band.resize((out_width, bottom - top), Image.Resampling.BILINEAR, box)
        out[top:bottom] = np.asarray(rgb(band))
    return out


def _band(image, first: int, last: int, turn: int) -> Image.Image:
    """Rows `first` to `last` of the upright picture."""
    sideways, backwards = turn >= 5, turn in (3, 4, 7, 8)
    side = image.width if sideways else image.height
    first, last = (side - last, side - first) if backwards else (first, last)
    band = image.crop((first, 0, last, image.height) if sideways else (0, first, image.width, last))
    return band.transpose(_TURNS[turn]) if turn in _TURNS else band
