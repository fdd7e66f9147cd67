"""`sseg segment --format`: a folder of images becomes a data set."""

import json
import os
import sys

from sseg.cli.output import Batch
from sseg.cli.progress import Progress
from sseg.errors import SSegError
from sseg.stopping import STOPPED, Stop

FORMATS = ("png", "coco", "yolo")
INSTANCES = ("phrases", "parts")


def check(options) -> None:
    """One sentence for options that do not go together."""
    if options.format is None:
        if options.instances:
            raise SSegError("--instances says what an annotation of --format coco is: add that, or leave it out.")
        return
    if options.format not in FORMATS:
        raise SSegError(f'There is no format "{options.format}": choose {", ".join(FORMATS[:-1])} or {FORMATS[-1]}.')
    if not options.out:
        raise SSegError(f"Say where the labelled images go: --format {options.format} --out FOLDER.")
    if options.suggest:
        raise SSegError("All images of a data set are asked for the same phrases: give --phrases, not --suggest.")
    if options.instances and options.format != "coco":
        raise SSegError("--instances says what an annotation of --format coco is: leave it out with other formats.")
    if options.instances and options.instances not in INSTANCES:
        raise SSegError(f'There are no instances "{options.instances}": choose phrases or parts.')


def run(options, paths: list[str], segmenter, segmented) -> int:
    """Label what is not labelled yet.

    Args:
        paths: image files.
        segmented: path -> pixels (H, W, 3), full size and answer.
    """
    from sseg.arguments import check_background
    from sseg.cli import sheets
    from sseg.cli.data_set import DataSet
    from sseg.phrases import parse

    background = segmenter.background if options.background is None else options.background
    asked = {
        "format": options.format,
        "phrases": [one.text for one in parse(options.phrases)],
        "weights": segmenter.name,
        "background": check_background(background),
        "sliding": options.sliding,
        "instances": (options.instances or "phrases") if options.format == "coco" else None,
    }
    data_set = DataSet(options.out, asked)
    paths = list({os.path.abspath(path): path for path in paths}.values())  # each file once
    todo = [path for path in paths if path not in data_set]
    if len(todo) < len(paths):
        print(f"{len(paths) - len(todo)} of {len(paths)} images are labelled already.", file=sys.stderr)
    progress, rows, heads = Progress(len(todo)), [], ["image", "labels"]
    batch = Batch(todo, progress)
    with Stop() as stop:
        try:
            for path, (rgb, full, answer) in batch.each(segmented):
                entry = data_set.add(path, full, answer)
                rows.append(_sheet_row(entry["image"], rgb, answer))
                if len(rows) == sheets.ROWS * sheets.COLUMNS:
                    data_set.write_sheet(rows, heads)
                    rows.clear()
                if options.json:
                    report = {"image": path, "labelled": entry["image"], "full_size": list(full), **answer.to_json()}
                    print(json.dumps(report), flush=True)
                if stop.asked:
                    break
        finally:  # what was labelled is a data set, also after an error
            progress.pause()
            if rows:
                data_set.write_sheet(rows, heads)
            data_set.finish()
    if stop.asked:
        print(f"Stopped with {len(data_set.entries)} images labelled; the same command goes on.", file=sys.stderr)
        return STOPPED
    if not options.json:
        print(_summary(data_set))
    return 2 if batch.failed else 0


def _sheet_row(name: str, rgb, answer):
    import numpy as np
    from PIL import Image

    from sseg import images
    from sseg.cli import sheets

    size = sheets.fitted(rgb.shape[:2])
    small = np.array(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BOX))
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, rgb.shape[:2], strict=True))
    colored = images.overlay(small, answer.labels[rows[:, None], columns], images.colors(len(answer.phrases)), 0.7)
    largest = sorted(zip(answer.areas, answer.phrases, strict=True), reverse=True)
    note = ", ".join(f"{phrase} {100 * area:.0f} %" for area, phrase in largest[:3] if area)
    return sheets.Row(name, note or "nothing found", [small, colored])


def _summary(data_set) -> str:
    entries = list(data_set.entries.values())
    lines = [f"{len(entries)} images labelled in {data_set.folder}"]
    for i, phrase in enumerate(data_set.asked["phrases"]):
        areas = [entry["areas"][i] for entry in entries if entry["areas"][i]]
        share = f"{100 * sum(areas) / len(areas):5.1f} % of each" if areas else ""
        lines.append(f"  {len(areas):>6} images  {share:<16}{phrase}".rstrip())
    return "\n".join(lines)
