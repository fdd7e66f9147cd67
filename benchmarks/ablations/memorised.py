"""Do weights know photographs, or their training photographs by heart?

    python -m benchmarks.ablations.memorised WEIGHTS ...

Retrieval and contrastive loss among 96 pairs, as a training step computes them (train/pretrain.py), on photographs and
captions of one kind (Flickr8k) that the weights were trained on, and on others. Random windows of 96 pixels, one
caption of each, no other change. More training pays as long as the others gain, too. Ends with one JSON object.
"""

import argparse
import json
import statistics

import torch

import sseg
from sseg.models.text import tokenize
from train.data.tars import TarPairs
from train.losses import contrastive_loss, region_similarity
from train.provenance import commit, hardware
from train.recipe import Stage

BATCH, SIZE = 96, 96
SETS = {"trained on": ("pairs", "flickr8k*"), "others": ("pairs-val", "flickr8k*")}


@torch.inference_mode()
def judge(segmenter, pairs: TarPairs, batches: int) -> dict[str, float]:
    """Share of pictures that find their own caption, in per cent, and InfoNCE; means over batches."""
    model, config, hits, losses = segmenter.model, segmenter.model.config, [], []
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (config.pixel_mean, config.pixel_std))
    for number in range(batches):
        batch = pairs.batch(number, BATCH, Stage(steps=1, batch=BATCH, size=SIZE))
        tokens = tokenize(segmenter.tokenizer, batch.captions, config.text_max_length)
        image, (texts,) = model((batch.images - mean) / std, tokens)
        similarity = region_similarity(image.mask_embeddings, texts)
        hits.append(100 * float((similarity.argmax(1) == torch.arange(BATCH)).float().mean()))
        losses.append(float(contrastive_loss(similarity, model.scale)))
    return {"retrieval": round(statistics.mean(hits), 1), "contrastive": round(statistics.mean(losses), 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--batches", type=int, default=20, help=f"of {BATCH} pairs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = {name: {} for name in options.weights}
    for kind, (root, only) in SETS.items():
        pairs = TarPairs(root, 0, "cpu", only=only)
        for name in options.weights:
            table[name][kind] = judge(sseg.load(name, device="cpu"), pairs, options.batches)
            print(name, kind, table[name][kind], flush=True)
    result = {"benchmark": "memorised", "batches": options.batches, "table": table}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
