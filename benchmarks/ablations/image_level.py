"""S-Seg beside an image-level model on photographs.

    python -m benchmarks.ablations.image_level S-SEG IMAGE-LEVEL

The second learned from the same pairs for as many steps, texts against the mean over the picture instead of against
regions (train.pretrain RECIPE loss.dice=0 loss.focal=0 loss.pooling=feature_mean). It is read in the two ways of
`baselines`: a name for each pseudo-mask, and one for each cell. Without background, all classes asked for,
or the classes of each picture; those also on the pictures that hold two or more alone: where only the one class that a
picture holds is asked for, any answer is right. "clusters, true names": what masks could reach at most, K = 8 clusters
of the features `mini`, each given the class of most of its pixels. `ratio`: S-Seg's mIoU over the better of the
others', classes of each picture. Ends with one JSON object.
"""

import argparse
import json

import numpy as np
import torch

import sseg
from benchmarks.ablations.baselines import CellPredictor, ClusterPredictor
from sseg.features.textons import TextonFeatures
from sseg.metrics import StreamingIoU, oracle_update
from sseg.pseudo_masks.masker import PseudoMasker
from train.evaluate import present_classes
from train.evaluation.predictors import Predictor
from train.evaluation.registry import HALVES, Half, open_benchmark
from train.provenance import commit, hardware


class PhotographClusters(ClusterPredictor):
    """Names for pseudo-masks of the kind that S-Seg learned its shapes from (train/recipes/photos-short.yaml)."""

    features, k = TextonFeatures, 12


READINGS = {"S-Seg": Predictor, "pseudo-masks, named": PhotographClusters, "cells, named": CellPredictor}
ASKED = ("present", "present, two or more", "all")


def without_background(labels: np.ndarray, benchmark) -> tuple[np.ndarray, np.ndarray]:
    """The truth with its background ignored, and the classes that are left."""
    if benchmark.background is not None:
        labels = np.where(labels == benchmark.background, benchmark.ignore, labels)
    return labels, present_classes(labels, benchmark.ignore)


def judge(predict, benchmark) -> dict[str, dict[str, float]]:
    """mIoU in per cent for each way of asking, over all classes and each group of the benchmark."""
    metrics = {asked: StreamingIoU(len(benchmark.class_names)) for asked in ASKED}
    everything = [i for i in range(len(benchmark.class_names)) if i != benchmark.background]
    for sample in benchmark:
        truth, classes = without_background(sample.labels, benchmark)
        if not len(classes):
            continue
        own = predict(sample.image, classes)
        metrics["present"].update(own, truth, benchmark.ignore)
        if len(classes) > 1:
            metrics["present, two or more"].update(own, truth, benchmark.ignore)
        metrics["all"].update(predict(sample.image, everything), truth, benchmark.ignore)
    return figures(metrics, benchmark)


def ceiling(benchmark) -> dict[str, dict[str, float]]:
    """The same for clusters that get their true classes; picture i is clustered with seed i."""
    metrics = {asked: StreamingIoU(len(benchmark.class_names)) for asked in ASKED[:2]}
    masker = PseudoMasker("mini", device="cpu")
    for i, sample in enumerate(benchmark):
        truth, classes = without_background(sample.labels, benchmark)
        ids = masker(sample.image, 8, seed=i).ids
        oracle_update(metrics["present"], ids, truth, benchmark.ignore)
        if len(classes) > 1:
            oracle_update(metrics["present, two or more"], ids, truth, benchmark.ignore)
    return figures(metrics, benchmark)


def figures(metrics: dict[str, StreamingIoU], benchmark) -> dict[str, dict[str, float]]:
    groups = {"miou": None, **benchmark.groups}
    return {asked: {name: round(100 * metric.miou(classes), 1) for name, classes in groups.items()}
            for asked, metric in metrics.items()}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sseg", metavar="S-SEG", help="weights")
    parser.add_argument("image_level", metavar="IMAGE-LEVEL", help="weights")
    parser.add_argument("--benchmarks", nargs="+", default=["voc-mini", "coco-mini"])
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: sseg.load(name, device="cpu") for name in (options.sseg, options.image_level)}
    table, ratios = {}, {}
    for name in options.benchmarks:
        benchmark = open_benchmark(name, limit=options.limit)
        benchmark = Half(benchmark, options.half) if options.half else benchmark
        rows = {}
        for reading, kind in READINGS.items():
            model = models[options.sseg if kind is Predictor else options.image_level]
            rows[reading] = judge(kind(model, benchmark.class_names, model.long_side), benchmark)
            print(name, reading, rows[reading], flush=True)
        rows["clusters, true names"] = ceiling(benchmark)
        print(name, rows["clusters, true names"], flush=True)
        best = max(rows[reading]["present"]["miou"] for reading in list(READINGS)[1:])
        table[name], ratios[name] = rows, round(rows["S-Seg"]["present"]["miou"] / best, 2)
    result = {"benchmark": "image_level", "half": options.half, "models": list(models), "table": table}
    print(json.dumps(result | {"ratio": ratios, "commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
