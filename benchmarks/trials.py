"""The contact sheet of trials: photographs, words, and what weights paint. Judged by eye.

    python -m benchmarks.trials --model photos --trials FILE.json [--data DIR] [--out out/trials.png]
    python -m benchmarks.trials --model photos --trials assets/gallery/gallery.json --data assets   # the gallery

FILE holds a list of {"image": path under DIR, "words": "dog, grass"}; without words, those are asked that the weights
themselves propose for the photograph. DIR is $SSEG_DATA where not given, else data/ of the repository. Each is asked
with the page's defaults. On the sheet, 1,600 pixels wide: three trials a row, each the photograph, beside it what was
found, below the words with their colours and the shares of the picture. The last line is one JSON object; `painted` is
the number of trials where anything was found.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import sseg
from benchmarks.asking import data_folder, own_background
from sseg import images
from sseg.errors import SSegError
from train.evaluation.progress import Progress
from train.provenance import commit, hardware

WIDTH, COLUMNS = 1600, 3  # pixels of the sheet, trials a row
MARGIN, GAP, BETWEEN = 20, 6, 26  # around the sheet; between photograph and answer; between trials
CELL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * BETWEEN) // COLUMNS  # pixels of a trial
TILE = ((CELL - GAP) // 2, 250)  # most of a picture, width and height
HEAD, LINE, SQUARE, SPACE = 24, 22, 13, 16  # heights of the texts; side of a colour; between two words
LETTERS = 15
INK, FAINT, PAPER, FRAME, WARNING = (25, 25, 28), (110, 110, 116), (255, 255, 255), (205, 205, 210), (178, 34, 34)


class Trial(NamedTuple):
    """What was asked of a photograph, and the answer, small enough for the sheet."""

    name: str
    picture: np.ndarray  # (h, w, 3) uint8
    painted: np.ndarray  # the same with colours
    words: list[str]
    areas: list[float]  # shares of the picture


def main(arguments=None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    try:
        asked = read_trials(options.trials)
        segmenter = sseg.load(options.model)
        folder = data_folder(options.data)
        trials = [answer(segmenter, folder / one["image"], one.get("words")) for one in Progress(asked, "trials")]
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    for number, trial in enumerate(trials, 1):
        print(f"{number:3}. {trial.name}: {told(trial)}")
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    sheet(trials, f"{options.model}, background below {own_background(segmenter):g}").save(options.out)
    result = {"benchmark": "trials", "model": options.model, "n": len(trials)}
    result |= {"painted": sum(any(trial.areas) for trial in trials), "background": own_background(segmenter)}
    print(json.dumps(result | {"out": options.out, "commit": commit(), "hardware": hardware(segmenter.device)}))
    return 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="W", help="bundled name, folder, or owner/name@revision")
    parser.add_argument("--trials", required=True, metavar="FILE", help='JSON: a list of {"image", "words"}')
    parser.add_argument("--data", metavar="DIR", help="what the paths of images begin from")
    parser.add_argument("--out", default="out/trials.png", metavar="PNG")
    return parser.parse_args(arguments)


def read_trials(path) -> list[dict]:
    """The entries of a file of trials. SSegError if it is missing or of another form."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        fits = entries and all(
            isinstance(one["image"], str) and isinstance(one.get("words", ""), str) for one in entries
        )
    except (OSError, ValueError, TypeError, KeyError):
        fits = False
    if not fits:
        raise SSegError(f'{path} holds no trials: write a JSON list of {{"image": path, "words": "dog, grass"}}.')
    return entries


def answer(segmenter, path: Path, words: str | None) -> Trial:
    """Ask one photograph as the page does, by default for what is proposed. SSegError for a missing picture or no
    words."""
    rgb = images.read(path)
    encoded = segmenter.encode(rgb)
    asked = words if words is not None else [proposal["phrase"] for proposal in segmenter.suggest(encoded)]
    found = segmenter.ask(encoded, asked, background=own_background(segmenter))
    size = fitted(rgb.shape[:2])
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    labels = np.asarray(Image.fromarray(found.labels).resize(size, Image.Resampling.NEAREST))
    painted = images.overlay(small, labels, images.colors(len(found.phrases)))  # outlines stay one pixel wide
    return Trial(path.name, small, painted, found.phrases, found.areas)


def fitted(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a picture of (H, W), scaled to fit `TILE`."""
    factor = min(TILE[0] / size[1], TILE[1] / size[0])
    return max(1, round(size[1] * factor)), max(1, round(size[0] * factor))


def told(trial: Trial) -> str:
    """ "dog 12 %, grass 0 %", or that nothing was found."""
    if not any(trial.areas):
        return f"nothing found of {', '.join(trial.words)}"
    return ", ".join(f"{word} {per_cent(area)}" for word, area in zip(trial.words, trial.areas, strict=True))


def per_cent(area: float) -> str:
    """A share of the picture in words; what is there is never 0 %."""
    return "under 1 %" if 0 < area < 0.01 else f"{100 * area:.0f} %"


def sheet(trials: list[Trial], title: str) -> Image.Image:
    """All trials, three a row, numbered from 1; each row is as high as its highest trial."""
    rows = [trials[start : start + COLUMNS] for start in range(0, len(trials), COLUMNS)]
    heights = [max(map(height, row)) for row in rows]
    page = Image.new("RGB", (WIDTH, 2 * MARGIN + HEAD + sum(heights) + BETWEEN * len(rows)), PAPER)
    draw, top = ImageDraw.Draw(page), MARGIN + HEAD + BETWEEN
    painted = sum(any(trial.areas) for trial in trials)
    draw.text((MARGIN, MARGIN), f"{title}: anything found on {painted} of {len(trials)}", INK, font(LETTERS + 3))
    for row_number, (row, row_height) in enumerate(zip(rows, heights, strict=True)):
        for place, trial in enumerate(row):
            left = MARGIN + place * (CELL + BETWEEN)
            paint(page, draw, trial, row_number * COLUMNS + place + 1, left, top)
        top += row_height + BETWEEN
    return page


def height(trial: Trial) -> int:
    """Pixels from the top of a trial's heading to the end of its legend."""
    return HEAD + len(trial.picture) + GAP + LINE * len(legend(trial))


def paint(page, draw, trial: Trial, number: int, left: int, top: int) -> None:
    """One trial: its number and name, both pictures, the legend."""
    draw.text((left, top), f"{number}", INK, font(LETTERS + 2, bold=True))
    draw.text((left + CELL, top + 2), trial.name, FAINT, font(LETTERS - 2), anchor="ra")
    for i, tile in enumerate((trial.picture, trial.painted)):
        page.paste(Image.fromarray(tile), (left + i * (tile.shape[1] + GAP), top + HEAD))
    top += HEAD + len(trial.picture) + GAP
    for line, entries in enumerate(legend(trial)):
        middle = top + LINE * line + LINE // 2
        for offset, colour, text, ink in entries:
            x = left + offset
            if colour:
                box = (x, middle - SQUARE // 2, x + SQUARE, middle - SQUARE // 2 + SQUARE)
                draw.rectangle(box, fill=colour, outline=FRAME)
                x += SQUARE + GAP
            draw.text((x, middle), text, ink, font(LETTERS), anchor="lm")


def legend(trial: Trial) -> list[list[tuple]]:
    """Lines of (pixels from the left, colour or None, text, ink), no wider than a trial."""
    anything = any(trial.areas)
    entries = [] if anything else [(None, "nothing found of", WARNING)]
    colours = map(tuple, images.colors(len(trial.words)).tolist())
    for word, area, colour in zip(trial.words, trial.areas, colours, strict=True):
        text = f"{word} {per_cent(area)}" if anything else word
        entries.append((colour, text, INK) if area else (None, text, FAINT))
    lines, offset = [[]], 0
    for colour, text, ink in entries:
        text = shortened(text)
        width = font(LETTERS).getlength(text) + (SQUARE + GAP if colour else 0)
        if lines[-1] and offset + width > CELL:
            lines.append([])
            offset = 0
        lines[-1].append((offset, colour, text, ink))
        offset += round(width) + SPACE
    return lines


def shortened(text: str) -> str:
    """The text with an ellipsis in its middle where it is wider than a trial."""
    keep, short = len(text), text
    while font(LETTERS).getlength(short) > CELL - SQUARE - GAP:
        keep -= 1
        short = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return short


def font(size: int, bold: bool = False):
    """The font that travels with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


if __name__ == "__main__":
    sys.exit(main())
