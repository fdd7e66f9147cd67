"""Clusters of a frozen encoder's maps: pseudo-masks that follow what the encoder tells apart, not colour and texture.

Regions that follow meaning are named better than regions that follow outlines (docs/log.md): each cell is described
by the last two maps, scaled to unit length, and its place.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sseg.pseudo_masks.kmeans import kmeans

COARSEST, PLACE = 0.7, 0.6  # weights of the last map and of the place, beside 1 for the map before it


def cell_features(maps: list[Tensor]) -> Tensor:
    """Maps (B, C, h, w) of an encoder, fine to coarse -> (B, h * w, D): what the cells of the last are clustered by."""
    finer, coarsest = (one.float() for one in maps[-2:])
    batch, _, height, width = coarsest.shape
    if finer.shape[2:] != coarsest.shape[2:]:
        coarsest = F.interpolate(coarsest, finer.shape[2:], mode="bilinear", align_corners=False)
        height, width = finer.shape[2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    place = PLACE * torch.stack([x, y]).expand(batch, -1, -1, -1).to(finer.device)
    features = torch.cat([F.normalize(finer, dim=1), COARSEST * F.normalize(coarsest, dim=1), place], 1)
    return features.flatten(2).transpose(1, 2).contiguous()


def cluster(maps: list[Tensor], k: int, seeds) -> Tensor:
    """K-Means of each picture's cells: ids (B, h, w) uint8 in 0..k-1, h and w of the finer of the last two maps."""
    labels = kmeans(cell_features(maps), k, seeds=seeds).labels
    return labels.view(len(labels), *maps[-2].shape[2:]).to(torch.uint8)
