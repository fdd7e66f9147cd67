"""Which background threshold?

    python -m benchmarks.ablations.background [--weights mini] [--scenes 100] [--seed-offset 5]

Each sticker scene is asked for the things and materials that it holds, but for one (its pixels are background then),
and for two names that it does not hold. For each threshold: IoU over the asked classes that are there and the
background; the share of asked classes of which at least 30 % is found; the share of absent names that get over 1 % of
a picture; all as means over scenes. Ends with one JSON object, `best` being the threshold of the highest IoU. Choose on
other scenes than those that are reported on.
"""

import argparse
import json
import random

import numpy as np

import sseg
from train.evaluation.datasets.stickers import StickersBenchmark
from train.provenance import commit, hardware

THRESHOLDS = [round(0.05 * i, 2) for i in range(13)]
BACKGROUND = -2  # -1 is what does not count


def question(labels, classes: int, rng: random.Random):
    """Asked classes that are there, absent ones, and the truth with what is not asked as background."""
    there = [int(c) for c in np.unique(labels) if c >= 0]
    dropped = rng.choice(there) if len(there) > 2 else None
    absent = rng.sample([c for c in range(classes) if c not in there], 2)
    return [c for c in there if c != dropped], absent, np.where(labels == dropped, BACKGROUND, labels)


def judge(found, truth, asked: list[int], absent: list[int]) -> tuple[float, float, float]:
    """Mean IoU, share of asked classes found, share of absent ones shown; all flat, without ignored pixels."""
    classes = asked + ([BACKGROUND] if (truth == BACKGROUND).any() else [])
    overlap = {c: ((found == c) & (truth == c)).sum() for c in classes}
    iou = [overlap[c] / max(((found == c) | (truth == c)).sum(), 1) for c in classes]
    hit = [overlap[c] >= 0.3 * (truth == c).sum() for c in asked]
    return float(np.mean(iou)), float(np.mean(hit)), float(np.mean([(found == c).mean() > 0.01 for c in absent]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seed-offset", type=int, default=5)
    args = parser.parse_args()
    segmenter, rng = sseg.load(args.weights), random.Random(0)
    benchmark = StickersBenchmark("stickers", args.seed_offset, args.scenes)
    names, rows = benchmark.class_names, []
    for scene in benchmark:
        asked, absent, truth = question(scene.labels, len(names), rng)
        answer = segmenter(scene.image, [names[c] for c in asked + absent], background=0.0)
        counts = truth != benchmark.ignore
        best, sure, truth = np.array(asked + absent)[answer.best][counts], answer.confidence[counts], truth[counts]
        rows.append([judge(np.where(sure < t, BACKGROUND, best), truth, asked, absent) for t in THRESHOLDS])
    table = (100 * np.mean(rows, 0)).round(1).tolist()  # thresholds x (IoU, found, absent shown)
    for threshold, (iou, found, shown) in zip(THRESHOLDS, table, strict=True):
        print(f"{threshold:.2f}  IoU {iou:5.1f}  found {found:5.1f}  absent shown {shown:5.1f}")
    result = {"benchmark": "background", "weights": args.weights, "scenes": args.scenes, "seed": args.seed_offset}
    result |= {"best": THRESHOLDS[int(np.argmax([row[0] for row in table]))], "thresholds": THRESHOLDS, "table": table}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
