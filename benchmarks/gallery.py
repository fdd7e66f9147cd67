"""Pictures as they come, not the best: the first 12 of a fixed shuffle of the test scenes, and three typical failures.

    python -m benchmarks.gallery --model mini --out docs/images/gallery.jpg

Each scene is asked, as the app asks, for the things and materials that it holds; what is shown is the answer. The
failures are those at the 10th, 15th and 20th percentile of the IoU (mean over a scene's classes) of the next 100 scenes
of the shuffle. The last line of the output says what the picture shows.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import sseg
from sseg import images
from train.evaluation.datasets.stickers import StickersBenchmark
from train.provenance import commit, hardware

SHOWN, JUDGED = 12, 100
PERCENTILES = (10, 15, 20)
COLUMNS, WIDTH = 5, 2.5  # of panels; inches of one
GREY = "#6e6e74"


def main():
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", default="docs/images/gallery.jpg")
    options = parser.parse_args()
    segmenter = sseg.load(options.model, device="cpu")
    benchmark = StickersBenchmark("stickers")
    order = random.Random(0).sample(range(len(benchmark)), SHOWN + JUDGED)
    scenes = dict(pick(benchmark, order))
    panels = [(f"scene {i}", *answer(segmenter, benchmark, scenes[i])) for i in order]
    shown, judged = panels[:SHOWN], sorted(panels[SHOWN:], key=lambda panel: panel[-1])
    failures = [judged[JUDGED * p // 100] for p in PERCENTILES]
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    draw(shown + failures, options.out)
    result = {"model": options.model, "scenes": order[:SHOWN], "failures": [panel[0] for panel in failures]}
    result |= {"mean_iou": round(100 * float(np.mean([panel[-1] for panel in shown])), 1), "commit": commit()}
    print(json.dumps(result | {"hardware": hardware("cpu"), "out": options.out}))


def pick(benchmark, wanted: list[int]):
    """(number, scene) of the wanted scenes, in one pass."""
    for number, scene in enumerate(benchmark):
        if number in wanted:
            yield number, scene


def answer(segmenter, benchmark, scene):
    """Picture, overlay of the answer, phrases with the share of each that was found, and mean IoU."""
    classes = [int(c) for c in np.unique(scene.labels) if c != benchmark.ignore]
    found = segmenter(scene.image, [benchmark.class_names[c] for c in classes])
    overlaps = []
    for place, c in enumerate(classes):
        ours, true = found.labels == place, scene.labels == c
        overlaps.append((ours & true).sum() / max((ours | true).sum(), 1))
    return scene.image, found.overlay(scene.image), list(zip(found.phrases, overlaps, strict=True)), np.mean(overlaps)


def draw(panels: list, path: str) -> None:
    """Panels in rows: the picture, the answer, and the phrases in their colours with their IoU."""
    rows = -(-len(panels) // COLUMNS)
    lines = max(len(panel[3]) for panel in panels)
    heights = [1, 1, 0.09 * lines + 0.12] * rows
    size = (WIDTH * COLUMNS, 1.02 * WIDTH * sum(heights))
    figure, axes = plt.subplots(3 * rows, COLUMNS, figsize=size, dpi=100, height_ratios=heights)
    for place, (name, picture, overlay, phrases, _) in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        above, below, legend = axes[3 * row : 3 * row + 3, column]
        above.imshow(picture)
        below.imshow(overlay)
        title = f"typical failure: {name}" if place >= SHOWN else name
        above.set_title(title, fontsize=9, color=GREY, loc="left", pad=3)
        colours = images.colors(len(phrases)) / 255
        for line, ((phrase, overlap), colour) in enumerate(zip(phrases, colours, strict=True)):
            top = -0.12 * line
            legend.text(0.0, top, "\u25a0", color=colour, fontsize=10, va="top")
            legend.text(0.07, top, f"{phrase}  {100 * overlap:.0f}", fontsize=9, va="top")
        legend.set_ylim(-0.12 * lines, 0)
    for axis in axes.flat:
        axis.axis("off")
    figure.subplots_adjust(left=0.005, right=0.995, top=0.985, bottom=0, wspace=0.03, hspace=0.03)
    figure.savefig(path, pil_kwargs={"quality": 85})
    plt.close(figure)


if __name__ == "__main__":
    main()
