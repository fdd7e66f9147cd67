"""What keeps photographs from being found: thresholds, names or regions?

    python -m benchmarks.ablations.ceiling --model photos

For the true classes of `benchmarks.first_try` (even half), the share that is found (IoU of 0.5) by the page's own
threshold; by the best threshold for each class in each photograph; by the best number of regions in the order of their
scores; and by the best set of regions. What lies between two of them is lost by thresholds, by names, by regions.

For places-mini (even half), mIoU of the weights beside that of a linear classifier which is given the true masks of the
odd half and reads the same features of the same regions, and beside the majority class of each region. True masks serve
the measurement alone: nothing of it goes into weights. The last line is one JSON object.
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F

import sseg
from benchmarks.asking import ENOUGH, overlap, own_background, per_cent
from benchmarks.first_try import LEAST, PHOTOGRAPHS, SETS, Drawn
from sseg import inference
from sseg.metrics import StreamingIoU
from train.evaluation.registry import open_benchmark
from train.provenance import commit, hardware

THRESHOLDS = (0.02, 0.05, *(i / 10 for i in range(1, 10)))
STEPS, RATE, DECAY, DROPPED = 300, 2e-3, 0.05, 0.3  # of the linear classifier
WAYS = ("page", "best threshold", "best order", "best regions")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="photos", metavar="W")
    parser.add_argument("--size", type=int, default=256, help="long side for places-mini, whose photographs have 128")
    options = parser.parse_args()
    segmenter = sseg.load(options.model)
    result = {"benchmark": "ceiling", "model": options.model}
    result |= {"first_try": first_try(segmenter), "places": places(segmenter, options.size)}
    for name, part in (("first try, found", result["first_try"]), ("places-mini, mIoU", result["places"])):
        print(f"{name}:")
        print("".join(f"  {way:<28} {figure}\n" for way, figure in part.items()))
    print(json.dumps(result | {"commit": commit(), "hardware": hardware(segmenter.device)}))


@torch.inference_mode()
def regions_of(segmenter, image, side: int):
    """What can be asked about a photograph, and the features (N, D) of its regions."""
    config = segmenter.model.config
    pixels = inference.resize(image, inference.target_size(*image.shape[:2], side), segmenter.device)
    out = segmenter.model.encode_image(inference.normalise(pixels, config.pixel_mean, config.pixel_std))
    masks = segmenter.smoothed(pixels, out.mask_logits.float())[0]
    weights = inference.mask_weights(masks, segmenter.combine)
    encoded = segmenter.encoded(masks, weights, out.mask_embeddings[0].float(), image.shape[:2])
    return encoded, out.mask_features[0].float()


def first_try(segmenter) -> dict:
    """Per cent of the true classes that are found in each of `WAYS`, and how many there are."""
    hits, count = np.zeros(len(WAYS), int), 0
    for name in SETS:
        benchmark = open_benchmark(name)
        for sample, present, absent in Drawn(benchmark, PHOTOGRAPHS, "even", 0):
            encoded, _ = regions_of(segmenter, sample.image, segmenter.long_side)
            names = [benchmark.class_names[c] for c in present + absent]
            scores = at_full_size(segmenter.ask(encoded, names, background=0).coarse_scores, sample.labels.shape)
            owner = at_full_size(encoded.mask_weights, sample.labels.shape).argmax(0)  # region of each pixel
            counted = sample.labels >= 0
            for place, c in enumerate(present):
                true = sample.labels[counted] == c
                if true.mean() >= LEAST:
                    won = (scores.argmax(0) == place)[counted]
                    found = ways(scores[place][counted], won, owner[counted], true, own_background(segmenter))
                    hits += [iou >= ENOUGH for iou in found]
                    count += 1
    return {way: per_cent(int(hit), count) for way, hit in zip(WAYS, hits, strict=True)} | {"classes": count}


def at_full_size(maps: torch.Tensor, size) -> np.ndarray:
    return inference.upsample(maps, size).cpu().numpy()


def ways(score, won, owner, true, background: float) -> list[float]:
    """IoU in each of `WAYS`. All of the counted pixels (P,): score of the phrase, whether it is the best of the asked
    ones, region, and whether it is true."""
    numbers = np.unique(owner)
    by_score = sorted(numbers, key=lambda n: -score[owner == n].mean())
    by_truth = sorted(numbers, key=lambda n: -true[owner == n].mean())
    own, *each = (overlap(won & (score >= t), true) for t in (background, *THRESHOLDS))
    orders = [max(overlap(np.isin(owner, order[: n + 1]), true) for n in range(len(order)))
              for order in (by_score, by_truth)]  # fmt: skip
    return [own, max(own, *each), *orders]


def places(segmenter, side: int) -> dict:
    """mIoU over all names and over those of each photograph, of the weights and of a classifier taught by masks."""
    benchmark = open_benchmark("places-mini")
    read = [(*regions_of(segmenter, sample.image, side), sample.labels) for sample in benchmark]
    names, classes = benchmark.class_names, len(benchmark.class_names)
    classifier = taught([(features, encoded, labels) for encoded, features, labels in read[1::2]], classes)
    metrics = {way: StreamingIoU(classes) for way in
               ("all", "present", "taught: all", "taught: present", "majority of each region")}  # fmt: skip
    for encoded, features, labels in read[::2]:
        for which, chosen in (("all", np.arange(classes)), ("present", np.unique(labels[labels >= 0]))):
            asked = segmenter.ask(encoded, [names[c] for c in chosen], background=0, competitors=False)
            likely = classifier(features)[:, chosen].softmax(1)  # (N, C)
            learned = inference.combine_scores(encoded.mask_weights, likely)
            for way, scores in ((which, asked.coarse_scores), (f"taught: {which}", learned)):
                metrics[way].update(chosen[at_full_size(scores, labels.shape).argmax(0)], labels, -1)
        shares = held(encoded, labels, classes)  # (N, C)
        owner = at_full_size(encoded.mask_weights, labels.shape).argmax(0)
        metrics["majority of each region"].update(shares.argmax(1).numpy()[owner], labels, -1)
    return {way: round(100 * metric.miou(), 1) for way, metric in metrics.items()}


def held(encoded, labels, classes: int) -> torch.Tensor:
    """How much of the photograph each class has in each region: (N, C)."""
    owner = at_full_size(encoded.mask_weights, labels.shape).argmax(0)
    counts = torch.zeros(len(encoded.mask_weights), classes)
    counted = labels >= 0
    pairs = torch.from_numpy(owner[counted]), torch.from_numpy(labels[counted]).long()
    return counts.index_put(pairs, torch.tensor(1.0), accumulate=True) / labels.size


def taught(pictures, classes: int):
    """A linear classifier of features of unit deviation that learned what regions hold; seldom classes weigh more, by
    the root of how seldom."""
    features = torch.cat([one for one, _, _ in pictures])
    shares = torch.cat([held(encoded, labels, classes) for _, encoded, labels in pictures])
    mean, std = features.mean(0), features.std(0).clamp(min=1e-4)
    weight = (shares.sum() / classes / shares.sum(0).clamp(min=1e-3)) ** 0.5
    torch.manual_seed(0)
    linear = torch.nn.Linear(features.shape[1], classes)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        likely = linear(F.dropout((features - mean) / std, DROPPED)).log_softmax(1)
        optimizer.zero_grad()
        (-(shares * weight * likely).sum() / shares.sum()).backward()
        optimizer.step()
    linear.requires_grad_(False)
    return lambda found: linear((found - mean) / std)


if __name__ == "__main__":
    main()
