"""Pseudo-masks: the features of a picture, clustered. No labels and no captions go in (paper, section 3)."""

import math

import torch

from sseg.pseudo_masks.kmeans import kmeans


@torch.no_grad()
def pseudo_masks(pixels, source, k, grid, seeds=None, steps=10):
    """Divide each picture into at most k clusters of alike cells.

    pixels: (B, 3, H, W) uint8. source: a sseg.features.FeatureSource. grid: (h, w) cells. seeds: None, an int or a
    (B,) tensor of ints, as for kmeans. Returns cluster ids (B, h, w) int64 in 0..k-1, on the device
    of the pixels. A cluster may be several separate patches of the picture.
    Raises SSegError where the pictures, the grid or k do not fit each other.
    """
    features = source(pixels, grid)  # (B, h, w, d)
    return kmeans(features.flatten(1, 2), k, steps=steps, seeds=seeds).labels.unflatten(1, tuple(grid))


CELL = 8  # pixels: the side of a cell at the resolution that features are computed at, DINO's patch
LONGEST = 8  # a picture more oblong than 1:8 gets the grid of one that is


def grid_of(height, width, resolution=448):
    """Rows and columns of cells for a picture: as many as a square of `resolution` pixels has, in its own proportions.

    448 gives 56 x 56 cells to a square picture (paper, section 9.4) and 48 x 65 to one of 375 x 500 pixels.
    """
    root = min(max(math.sqrt(height / width), LONGEST**-0.5), LONGEST**0.5)
    return max(1, round(resolution / CELL * root)), max(1, round(resolution / CELL / root))
