"""S-Seg beside the paper's simple baselines, at our size.

    python -m benchmarks.ablations.baselines [--seconds 150] [--seeds 0 1]

Claim 2 of the paper (mean of three sets, 12M pairs: 6.6 and 14.9 for the baselines, 30.1 for S-Seg). Two models learn
from the same scenes, captions and phrases for the same processor time in one thread, the first stage of mini.yaml:

- "S-Seg": texts meet the regions that its masks make;
- "image level": the same encoder and pixel decoder without masks, texts meet the mean over the picture.

What the second has learned is read in two ways: a name for each pseudo-mask (K = 8 clusters of colour and place,
features pooled under it), and a name for each cell of the feature map. Judged on scenes of the test split with other
seeds, as easy as those of the first stage (one thing on one material) and of the second (up to two on two); `ratio`:
S-Seg's mIoU (phrases of each picture) over the better baseline's, in each. Ends with one JSON object.
"""

import argparse
import json
import statistics
import tempfile

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.ablations.backbones import evaluate, train
from sseg import inference
from sseg.features.pixels import PixelFeatures
from sseg.pseudo_masks.generate import pseudo_masks
from train.evaluation.predictors import Predictor
from train.provenance import commit, hardware

K = 8
SURE = 30.0  # logit of a mask that is given: a sigmoid of 1
COMMON = ["precision=fp32"]
SCENES = {"one thing": 0, "two things": 1}  # stage of mini.yaml
IMAGE_LEVEL = ["loss.dice=0.0", "loss.focal=0.0", "loss.pooling=feature_mean", "model.num_queries=1"]


class ClusterPredictor(Predictor):
    """Names for pseudo-masks: the features pooled under each K-Means cluster of the picture."""

    features, k = PixelFeatures, K  # what makes the pseudo-masks

    @torch.inference_mode()
    def __call__(self, image, classes=None):
        model, config = self.segmenter.model, self.segmenter.model.config
        pixels = inference.resize(image, inference.target_size(*image.shape[:2], self.long_side), self.texts.device)
        regions = self.regions(pixels, tuple(length // 4 for length in pixels.shape[2:]))  # (N, h, w) of zeros and ones
        pixel_values = inference.normalise(pixels, config.pixel_mean, config.pixel_std)
        embeddings = model.embed_regions(pixel_values, (SURE * (2 * regions - 1))[None])[0]  # (N, E)
        chosen = torch.arange(len(self.texts)) if classes is None else torch.as_tensor(classes).long()
        scores = inference.class_scores(regions, embeddings, self.texts[chosen], model.scale)
        return chosen[inference.top_class(scores, image.shape[:2])[0].long()].numpy()

    def regions(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        ids = pseudo_masks(pixels, self.features(), self.k, grid, seeds=0)[0]
        return F.one_hot(ids, self.k).permute(2, 0, 1).float()


class CellPredictor(ClusterPredictor):
    """Names for the cells of the feature map, each by itself."""

    def regions(self, pixels, grid):
        cells = grid[0] * grid[1]
        return torch.eye(cells).view(cells, *grid)


WAYS = {
    "S-Seg": ([], {"S-Seg": Predictor}),
    "image level": (IMAGE_LEVEL, {"pseudo-masks, named": ClusterPredictor, "cells, named": CellPredictor}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="processor time for each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, list] = {}
    for seed in args.seeds:
        for changes, readings in WAYS.values():
            with tempfile.TemporaryDirectory() as folder:
                trained = train([f"seed={seed}", *COMMON, *changes], args.seconds, folder)
                for name, predictor in readings.items():
                    for scenes, stage in SCENES.items():
                        row = {"seed": seed, "samples": trained["samples"]} | evaluate(folder, predictor, stage)
                        table.setdefault(scenes, {}).setdefault(name, []).append(row)
                        print(scenes, name, row, flush=True)
    ratios = {scenes: ratio(rows) for scenes, rows in table.items()}
    result = {"benchmark": "baselines", "seconds": args.seconds, "table": table, "ratio": ratios}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))


def ratio(table: dict[str, list]) -> float:
    """S-Seg's mIoU over that of the better baseline, means over seeds."""
    means = {name: statistics.mean(row["miou_present"] for row in rows) for name, rows in table.items()}
    return round(means["S-Seg"] / max(value for name, value in means.items() if name != "S-Seg"), 2)


if __name__ == "__main__":
    main()
