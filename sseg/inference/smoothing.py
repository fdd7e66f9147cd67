"""Masks that end where clusters of an image's colours do."""

import torch
import torch.nn.functional as F
from torch import Tensor


def smooth_masks(mask_logits: Tensor, clusters: Tensor, k: int) -> Tensor:
    """Masks that end where clusters of cells end: logits (N, h, w) and ids (h, w) in 0..k-1 -> logits (N, h, w).

    The probability of a mask becomes its mean over each cluster. The network's masks are smooth and run over outlines;
    the clusters that it learned shapes from do not.
    """
    members = F.one_hot(clusters.flatten(), k).to(mask_logits.dtype)  # (hw, K)
    means = mask_logits.sigmoid().flatten(1) @ members / members.sum(0).clamp(min=1)  # (N, K)
    return torch.logit(means @ members.T, eps=1e-6).view_as(mask_logits)
