"""What spreading features among cells alike does to pseudo-masks: python benchmarks/diffusion.py [--benchmarks ...]

Oracle mIoU at K = 8 (as `python -m train.evaluate --oracle`) of `pixels`, `textons` and `mini`, each as it is and
spread. The bundled `textons` and `mini` are spread; `pixels`, the plain baseline, is not.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sseg.features.diffusion import diffused  # noqa: E402
from sseg.features.mini import MiniFeatures  # noqa: E402
from sseg.features.pixels import PixelFeatures  # noqa: E402
from sseg.features.textons import TextonFeatures  # noqa: E402
from sseg.metrics import StreamingIoU, oracle_update  # noqa: E402
from sseg.pseudo_masker import STEPS  # noqa: E402
from sseg.pseudo_masks import grid_of, pseudo_masks  # noqa: E402
from train.evaluate import open_benchmark, percent  # noqa: E402
from train.provenance import commit, hardware  # noqa: E402


def oracle(benchmark, source, spread: bool, k: int) -> dict:
    """Figures of one set; picture number i is clustered with seed i."""
    metric, seconds = StreamingIoU(len(benchmark.class_names)), 0.0
    for i, sample in enumerate(benchmark):
        pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None].contiguous()
        start = time.perf_counter()
        used = (lambda pixels, grid: diffused(source(pixels, grid))) if spread else source
        ids = pseudo_masks(pixels, used, k, grid_of(*sample.image.shape[:2]), i, STEPS)[0]
        seconds += time.perf_counter() - start
        oracle_update(metric, ids.numpy(), sample.labels, benchmark.ignore)
    figures = {"benchmark": benchmark.name, "spread": spread, "oracle_miou": percent(metric.compute()["miou"])}
    return figures | {"seconds_per_image": round(seconds / len(benchmark), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", nargs="+", default=["voc-mini", "coco-mini", "coco-mini-stuff", "stickers"])
    parser.add_argument("--features", nargs="+", default=["pixels", "textons", "mini"])
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--limit", type=int, help="only the first N pictures of each set")
    options = parser.parse_args()
    sources = {"pixels": PixelFeatures, "textons": lambda: TextonFeatures(spread=False)}
    sources["mini"] = lambda: MiniFeatures(spread=False)
    for name in options.benchmarks:
        for features in options.features:
            for spread in (False, True):
                benchmark = open_benchmark(name, limit=options.limit)
                result = {"features": features, **oracle(benchmark, sources[features](), spread, options.k)}
                result |= {"k": options.k, "commit": commit(), "hardware": hardware("cpu")}
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
