"""Pseudo-masks: the features of a picture, clustered. No labels and no captions go in (paper, section 3)."""

import torch

from sseg.kmeans import kmeans


@torch.no_grad()
def pseudo_masks(pixels, source, k, grid, seeds=None, steps=10):
    """Divide each picture into at most k clusters of alike cells.

    pixels: (B, 3, H, W) uint8. source: a sseg.features.FeatureSource. grid: (h, w) cells. seeds: None, an int or a
    (B,) tensor of ints, as for sseg.kmeans.kmeans. Returns cluster ids (B, h, w) int64 in 0..k-1, on the device of
    the pixels. A cluster may be several separate patches of the picture.
    Raises SSegError where the pictures, the grid or k do not fit each other.
    """
    features = source(pixels, grid)  # (B, h, w, d)
    return kmeans(features.flatten(1, 2), k, steps=steps, seeds=seeds).labels.unflatten(1, tuple(grid))
