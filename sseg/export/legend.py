"""An answer as one image for a report: colours over the image, names on the regions, and a legend."""

import math

import numpy as np
from PIL import Image, ImageDraw

from sseg import images
from sseg.errors import SSegValueError
from sseg.export.lettering import font, names, shortened
from sseg.export.placing import overlap, spots

SMALL = 480  # pixels: an image whose longer side is shorter is enlarged by whole numbers, so that words fit
FONT = (13, 0.022, 64)  # pixels: least, of the image's mean side, most
WIDEST = 16  # letters' heights that a name may take
COVERS = 0.4  # share of a name that may lie on regions of other phrases
LEAST = 0.004  # share of the image for a region that gets a name
INK, FAINT, PAPER, FRAME = (25, 25, 28), (110, 110, 116), (255, 255, 255), (170, 170, 176)


def overlay_with_legend(
    rgb: np.ndarray,
    labels: np.ndarray,
    phrases: list[str],
    colors: np.ndarray,
    areas: list[float],
    opacity: float = 0.55,
) -> np.ndarray:
    """The overlay with names on the regions, and below (beside, if the image is higher than wide) what covers how much.

    A name stands on the largest connected part of its region; where it would cover others, the number of the
    phrase (its id in `palette_png`) stands there, and the legend says which it is. So it does for a phrase in a script
    that the font lacks.

    Args:
        rgb: uint8 (H, W, 3), the image; one under 480 pixels is enlarged by a whole number.
        labels: int (H, W), -1 = background.
        phrases: P texts; what is in them is drawn as plain text, long ones with an ellipsis.
        colors: uint8 (P, 3).
        areas: P shares of the image, 0..1.
        opacity: of the colours, 0..1.

    Returns:
        uint8 (h, w, 3), larger than the image by the legend.

    Raises:
        SSegError: an opacity outside 0..1, or labels of another size than the image.
    """
    if labels.shape != rgb.shape[:2]:
        raise SSegValueError("The overlay needs the image that was segmented: this one has another size.")
    times = max(1, math.ceil(SMALL / max(labels.shape)))
    if times > 1:
        height, width = (side * times for side in labels.shape)
        rgb = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))
        labels = images.enlarge(labels, (height, width))
    size = int(min(max(FONT[0], FONT[1] * math.sqrt(labels.size)), FONT[2]))
    texts = names(phrases)
    top = Image.fromarray(images.overlay(rgb, labels, colors, opacity))
    numbered = _write_names(ImageDraw.Draw(top), labels, texts, colors, areas, size)
    rows = _rows(texts, colors, areas, numbered)
    return np.asarray(_with_rows(top, rows, size))


def _write_names(draw, labels, texts, colors, areas, size) -> set[int]:
    """Write a name, or else its number, on each region that has room; the phrases whose number was written."""
    taken: list[tuple] = []
    numbered: set[int] = set()
    for label in sorted(range(len(texts)), key=lambda i: -areas[i]):
        if areas[label] < LEAST:
            break
        places = list(spots(labels, label, LEAST))
        number = str(label + 1)
        for text in (texts[label], number):
            text = text and shortened(text, size, WIDEST * size)
            box = text and _free(places, text, size, labels, label, taken)
            if box:
                _pill(draw, box, text, tuple(map(int, colors[label])), size)
                taken.append(box)
                if text == number:
                    numbered.add(label)
                break
    return numbered


def _free(places, text, size, labels, label, taken):
    """The first box for a text, moved into the image, that covers no other and little of other phrases' regions; None
    without one."""
    shape = labels.shape
    width, height = math.ceil(font(size).getlength(text)) + size, round(1.6 * size)
    if width > shape[1] or height > shape[0]:
        return None
    for x, y in places:
        left = int(min(max(0, x - width / 2), shape[1] - width))
        upper = int(min(max(0, y - height / 2), shape[0] - height))
        box = (left, upper, left + width, upper + height)
        below = labels[upper : upper + height, left : left + width]
        covers = ((below >= 0) & (below != label)).mean()
        if covers <= COVERS and not any(overlap(box, other) for other in taken):
            return box
    return None


def _pill(draw, box, text, color, size) -> None:
    left, upper, right, lower = box
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    draw.rounded_rectangle((left, upper, right - 1, lower - 1), round(0.4 * size), color, (255, 255, 255))
    draw.text(((left + right) / 2, (upper + lower) / 2), text, ink, font(size), anchor="mm")


def _rows(texts, colors, areas, numbered) -> list[tuple]:
    """What the legend says, the largest first: (colour or None, name, per cent)."""
    rows = []
    for i in sorted(range(len(texts)), key=lambda i: -areas[i]):
        name = texts[i] or "(see the list of phrases)"
        if i in numbered or not texts[i]:
            name = f"{i + 1}: {name}"
        rows.append((tuple(map(int, colors[i])), name, f"{100 * areas[i]:.1f} %"))
    return [*rows, (None, "background", f"{100 * max(0.0, 1 - sum(areas)):.1f} %")]


def _with_rows(top: Image.Image, rows, size: int) -> Image.Image:
    """The image on paper with the legend's rows, in as many columns as fit."""
    line, gap = round(1.7 * size), size
    beside = top.height > top.width
    widest = WIDEST * size if beside else min(WIDEST * size, top.width - 10 * size)
    rows = [(color, shortened(name, size, widest), share) for color, name, share in rows]
    name_width = math.ceil(max(font(size).getlength(name) for _, name, _ in rows))
    step = 2 * gap + name_width + math.ceil(font(size).getlength("100.0 %")) + 4 * gap
    if beside:
        lines = max(1, min(len(rows), (top.height - 2 * gap) // line))
    else:
        lines = math.ceil(len(rows) / max(1, (top.width + gap) // step))
    columns = math.ceil(len(rows) / lines)
    legend = (columns * step - gap, 2 * gap + lines * line)
    width, height = (top.width + legend[0], max(top.height, legend[1])) if beside else (
        max(top.width, legend[0]), top.height + legend[1])  # fmt: skip
    page = Image.new("RGB", (width, height), PAPER)
    page.paste(top, (0, 0))
    draw = ImageDraw.Draw(page)
    left, upper = (top.width + gap, gap) if beside else (gap, top.height + gap)
    for place, row in enumerate(rows):
        x, y = left + place // lines * step, upper + place % lines * line + line // 2
        _row(draw, row, x, y, name_width, size)
    return page


def _row(draw, row, x, y, name_width, size) -> None:
    color, name, share = row
    half = size // 2
    draw.rectangle((x, y - half, x + 2 * half, y + half), color, FRAME)
    draw.text((x + 2 * size, y), name, INK if share != "0.0 %" else FAINT, font(size), anchor="lm")
    end = x + 2 * size + name_width + math.ceil(font(size).getlength("100.0 %")) + size
    draw.text((end, y), share, FAINT, font(size), anchor="rm")
