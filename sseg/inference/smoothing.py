"""Masks that end where an image's colours change."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sseg.features.pixels import PixelFeatures
from sseg.pseudo_masks.edges import colours, soft_follow
from sseg.pseudo_masks.generate import pseudo_masks

_COLOURS = PixelFeatures()


def finer_masks(mask_logits: Tensor, pixels: Tensor, *, outlines: bool = False, clusters: int = 0) -> Tensor:
    """Mask logits (B, N, h, w) that follow their images' colours.

    Args:
        pixels: the images, (B, 3, H, W), 0..255.
        outlines: by the guided filter (`sseg.pseudo_masks.edges`), at a multiple of h and w.
        clusters: else over so many K-Means clusters of colour (`smooth_masks`); 0: as they are.
    """
    if outlines:
        fine = [
            soft_follow(masks.sigmoid(), colours(image, masks.shape[1:]))
            for masks, image in zip(mask_logits, pixels, strict=True)
        ]
        return torch.logit(torch.stack(fine), eps=1e-4)
    if not clusters:
        return mask_logits
    ids = pseudo_masks(pixels, _COLOURS, clusters, mask_logits.shape[2:], seeds=0)  # (B, h, w)
    return torch.stack([smooth_masks(*one, clusters) for one in zip(mask_logits, ids, strict=True)])


def smooth_masks(mask_logits: Tensor, clusters: Tensor, k: int) -> Tensor:
    """Masks that end where clusters of cells end: logits (N, h, w) and ids (h, w) in 0..k-1 -> logits (N, h, w).

    The probability of a mask becomes its mean over each cluster. The network's masks are smooth and run over outlines;
    the clusters that it learned shapes from do not.
    """
    members = F.one_hot(clusters.flatten(), k).to(mask_logits.dtype)  # (hw, K)
    means = mask_logits.sigmoid().flatten(1) @ members / members.sum(0).clamp(min=1)  # (N, K)
    return torch.logit(means @ members.T, eps=1e-6).view_as(mask_logits)
