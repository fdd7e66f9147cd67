"""Names or shapes: what keeps a segmenter from finding things? python -m benchmarks.ablations.regions [--weights mini]

For every thing of rendered scenes: is it named right among all names of the benchmark when its true mask is given, how
well does the best of the predicted masks cover it, and is that mask named right? Beside it, how well the best cluster
of the pseudo-masks covers it, for several K. True masks serve the measurement alone. Scenes of another seed than those
that results are reported on.
"""

import argparse
import json

import torch
import torch.nn.functional as F

import sseg
from sseg.features import source
from sseg.inference import normalise, resize
from sseg.pseudo_masks.generate import pseudo_masks
from train.evaluation.datasets.stickers import StickersBenchmark
from train.provenance import commit, hardware

SURE = 30.0  # mask logit of a true mask


def true_masks(labels: torch.Tensor, things: int, side: int) -> tuple[list[int], torch.Tensor]:
    """The things of labels (H, W): classes (G,) and which cells of a side x side grid are mostly theirs, (G, s, s)."""
    found, shares = [], []
    for index in labels.unique().tolist():
        share = F.adaptive_avg_pool2d((labels == index)[None, None].float(), side)[0, 0]
        if 0 <= index < things and (share > 0.5).any():
            found.append(index)
            shares.append(share > 0.5)
    return found, torch.stack(shares) if shares else torch.zeros(0, side, side, dtype=torch.bool)


def overlaps(masks: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """IoU (M, G) of bool masks (M, s, s) and true ones (G, s, s)."""
    both = (masks[:, None] & truth).flatten(2).sum(2)
    return both / (masks[:, None] | truth).flatten(2).sum(2).clamp(min=1)


@torch.inference_mode()
def judge(segmenter, scene, texts: torch.Tensor, things: int) -> dict[str, torch.Tensor]:
    """For each thing of a scene: named by its true mask, IoU of the best predicted mask, that one named."""
    model, config = segmenter.model, segmenter.model.config
    pixels = normalise(resize(scene.image, (config.image_size,) * 2), config.pixel_mean, config.pixel_std)
    out = model.encode_image(pixels)
    classes, truth = true_masks(torch.from_numpy(scene.labels), things, out.mask_logits.shape[-1])
    given = model.embed_regions(pixels, (2.0 * truth[None] - 1) * SURE)[0] @ texts.T  # (G, C)
    covered, best = overlaps(out.mask_logits[0] > 0, truth).max(0)  # (G,)
    named = (out.mask_embeddings[0] @ texts.T).argmax(1)[best]  # (G,)
    wanted = torch.tensor(classes)
    return {"given": given.argmax(1) == wanted, "covered": covered, "named": named == wanted}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--features", default="pixels", help="of the pseudo-masks")
    parser.add_argument("--k", type=int, nargs="*", default=[8, 14, 24])
    parser.add_argument("--limit", type=int, default=100, help="scenes")
    options = parser.parse_args()
    segmenter = sseg.load(options.weights)
    benchmark = StickersBenchmark("stickers", seed_offset=5, limit=options.limit)
    texts, clusters = segmenter.embed(benchmark.class_names), source(options.features)
    found, covered = [], {k: [] for k in options.k}
    for scene in benchmark:
        found.append(judge(segmenter, scene, texts, benchmark.num_things))
        side = segmenter.long_side // 4
        _, truth = true_masks(torch.from_numpy(scene.labels), benchmark.num_things, side)
        picture = torch.from_numpy(scene.image).permute(2, 0, 1)[None]
        picture = F.interpolate(picture, size=(4 * side,) * 2, mode="bilinear", antialias=True)
        for k, values in covered.items():
            ids = pseudo_masks(picture, clusters, k, (side, side), seeds=0)[0]
            values.append(overlaps(F.one_hot(ids, k).permute(2, 0, 1).bool(), truth).amax(0))

    def per_cent(parts):
        return round(100 * torch.cat(parts).float().mean().item(), 1)

    result = {"benchmark": "regions", "weights": options.weights, "scenes": options.limit, "seed_offset": 5}
    result |= {"named_by_true_mask": per_cent([f["given"] for f in found])}
    result |= {"iou_of_best_mask": per_cent([f["covered"] for f in found])}
    result |= {"best_mask_named": per_cent([f["named"] for f in found])}
    result |= {f"iou_of_best_cluster_k{k}": per_cent(values) for k, values in covered.items()}
    print(json.dumps(result | {"hardware": hardware(torch.device("cpu")), "commit": commit()}))


if __name__ == "__main__":
    main()
