"""What spreading features among cells alike does to pseudo-masks.

    python -m benchmarks.ablations.random_walk [--benchmarks ...]

Oracle mIoU at K = 8 (as `python -m train.evaluate --oracle`) of `pixels`, `textons` and `mini`, each as it is, spread,
and spread with ground drawn together. The bundled `textons` and `mini` are the last, `pixels`, the plain baseline, is
the first. `oracle_miou` is over classes; `picture_miou`, the mean over pictures of each one's own, moves less by chance
where classes are in one or two pictures only. A line of JSON for each.
"""

import argparse
import json
from functools import partial

import numpy as np
import torch

from sseg.features import small_vit
from sseg.features.pixels import PixelFeatures
from sseg.features.random_walk import diffused
from sseg.features.textons import TextonFeatures
from sseg.metrics import StreamingIoU, oracle_update
from sseg.pseudo_masks.feature_map import STEPS
from sseg.pseudo_masks.generate import grid_of
from sseg.pseudo_masks.kmeans import kmeans
from train.evaluate import ANOTHER, open_benchmark, percent
from train.provenance import commit, hardware

WAYS = {
    "as they are": lambda features, **how: features,
    "spread": partial(diffused, ground=0),
    "spread, ground together": diffused,
}
HOW = {"mini": {"width": small_vit.WIDTH, "steps": small_vit.STEPS}}  # features spread
SOURCES = {
    "pixels": PixelFeatures,
    "textons": lambda: TextonFeatures(spread=False),
    "mini": lambda: small_vit.MiniFeatures(spread=False),
}


class Figures:
    """Oracle mIoU over the classes of a set, and of each picture by itself."""

    def __init__(self, benchmark):
        self.classes, self.ignore = len(benchmark.class_names), benchmark.ignore
        self.whole, self.pictures = StreamingIoU(self.classes), []

    def update(self, ids: np.ndarray, labels: np.ndarray) -> None:
        """Clusters (h, w) and the truth (H, W) of one picture."""
        own = StreamingIoU(self.classes)
        for metric in (self.whole, own):
            oracle_update(metric, ids, labels, self.ignore)
        self.pictures.append(own.miou())

    def result(self) -> dict:
        """In per cent; pictures without any class do not count."""
        return {"oracle_miou": percent(self.whole.miou()), "picture_miou": percent(float(np.nanmean(self.pictures)))}


def judge(benchmark, source, how: dict, k: int, clusterings: int) -> dict[str, Figures]:
    """Figures of each way; picture i is clustered with the seeds of `train.evaluate --clusterings`."""
    found = {way: Figures(benchmark) for way in WAYS}
    for i, sample in enumerate(benchmark):
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].contiguous()
        grid = grid_of(*sample.image.shape[:2])
        features = source(pixels, grid)
        for way, figures in found.items():
            cells = WAYS[way](features, **how).flatten(1, 2)
            for turn in range(clusterings):
                ids = kmeans(cells, k, STEPS, seeds=i + turn * ANOTHER).labels.view(grid)
                figures.update(ids.numpy(), sample.labels)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", nargs="+", default=["voc-mini", "coco-mini", "coco-mini-stuff", "stickers"])
    parser.add_argument("--features", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--clusterings", type=int, default=1, help="of each picture, by other seeds")
    parser.add_argument("--limit", type=int, help="only the first N pictures of each set")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.benchmarks:
        for features in options.features:
            benchmark = open_benchmark(name, limit=options.limit)
            found = judge(benchmark, SOURCES[features](), HOW.get(features, {}), options.k, options.clusterings)
            for way, figures in found.items():
                result = {"benchmark": name, "features": features, "way": way, **figures.result(), "k": options.k}
                result |= {"clusterings": options.clusterings, "commit": commit(), "hardware": hardware("cpu")}
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
