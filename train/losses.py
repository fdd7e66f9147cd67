"""The losses of S-Seg as pure functions: shape from pseudo-masks, meaning from captions (paper.md, section 4)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from train.matcher import match

FOCAL_ALPHA = 0.25  # and gamma = 2, a square: MaskFormer's defaults, facebookresearch/MaskFormer criterion.py


class MaskLoss(NamedTuple):
    """Terms summed over decoder layers; the last layer's assignment: (B, K) query of each target, -1 = none."""

    dice: Tensor
    focal: Tensor
    queries: Tensor


def one_hot_masks(ids: Tensor, k: int) -> Tensor:
    """Cluster ids (B, h, w) -> binary target masks (B, K, h * w) float; an empty cluster is an all-zero row."""
    return F.one_hot(ids.flatten(1), k).transpose(1, 2).float()


def pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of every mask against every target: (..., N, P) and (..., K, P) -> (..., N, K), +1 smoothing."""
    probs, targets = logits.sigmoid(), targets.to(logits.dtype)
    overlap = 2 * probs @ targets.transpose(-1, -2)
    size = probs.sum(-1)[..., :, None] + targets.sum(-1)[..., None, :]
    return 1 - (overlap + 1) / (size + 1)


def pairwise_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss, mean over pixels, of every mask against every target -> (..., N, K)."""
    probs, targets = logits.sigmoid(), targets.to(logits.dtype)
    surprise = F.softplus(logits)  # -log(1 - p); -log(p) is the same less the logit
    if_one = FOCAL_ALPHA * (1 - probs).square() * (surprise - logits)
    if_zero = (1 - FOCAL_ALPHA) * probs.square() * surprise
    # sum over pixels of t * if_one + (1 - t) * if_zero, as one product
    return ((if_one - if_zero) @ targets.transpose(-1, -2) + if_zero.sum(-1, keepdim=True)) / logits.shape[-1]


def paired_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of each mask against its own target: (..., P) and (..., P) -> (...), +1 smoothing."""
    probs = logits.sigmoid()
    return 1 - (2 * (probs * targets).sum(-1) + 1) / (probs.sum(-1) + targets.sum(-1) + 1)


def paired_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss, mean over pixels, of each mask against its own target of zeros and ones -> (...)."""
    wrong = logits * (1 - 2 * targets)  # logit of the wrong answer
    alpha = 1 - FOCAL_ALPHA - (1 - 2 * FOCAL_ALPHA) * targets
    return (alpha * wrong.sigmoid().square() * F.softplus(wrong)).mean(-1)


def mask_loss(layer_logits: Tensor, ids: Tensor, k: int, focal_weight: float = 20.0) -> MaskLoss:
    """Dice and focal loss of matched masks, for every decoder layer; unmatched masks are free.

    Every mask is compared with every target for the matching alone, without gradients: those are dear and would be
    thrown away but for the matched pairs.

    Args:
        layer_logits: (D, B, N, h, w) mask logits of each decoder layer.
        ids: (B, h, w) cluster of each pixel in 0..k-1; clusters may be empty.
        focal_weight: weight of focal against dice in the matching cost (the caller weighs the terms of the loss).
    Returns:
        `MaskLoss`; each term is summed over layers and divided by the number of targets of the batch.
    """
    logits = layer_logits.float().flatten(3)  # (D, B, N, P)
    targets = one_hot_masks(ids, k)  # (B, K, P)
    valid = targets.any(-1)  # (B, K)
    with torch.no_grad():
        cost = pairwise_dice(logits, targets) + focal_weight * pairwise_focal(logits, targets)  # (D, B, N, K)
    queries = match(cost, valid)  # (D, B, K)
    index = queries.clamp(min=0).unsqueeze(3).expand(-1, -1, -1, logits.shape[3])
    chosen = logits.gather(2, index)  # (D, B, K, P)
    scale = valid / valid.sum().clamp(min=1)  # (B, K)
    dice, focal = ((loss(chosen, targets) * scale).sum() for loss in (paired_dice, paired_focal))
    return MaskLoss(dice, focal, queries[-1])


def region_similarity(
    regions: Tensor, texts: Tensor, pooling: str = "softmax", sharpness: float = 10.0, counted: Tensor | None = None
) -> Tensor:
    """Similarity of each picture to each text from its regions: (B, N, E), (P, E) -> (B, P).

    "softmax" is a soft maximum over regions, log-mean-exp(sharpness * cosine) / sharpness: one region that fits is
    enough. "mean" is the cosine of the mean region with the text. `counted` (B, N) bool leaves regions out.
    """
    share = torch.ones_like(regions[..., 0]) if counted is None else counted.to(regions.dtype)
    share = share / share.sum(1, keepdim=True).clamp(min=1)  # (B, N), sums to one
    if pooling == "mean":
        return F.normalize((regions * share[..., None]).sum(1), dim=-1) @ texts.T
    cosines = torch.einsum("bne,pe->bnp", regions, texts)
    return torch.logsumexp(sharpness * cosines + share.log()[..., None], dim=1) / sharpness


def matched(queries: Tensor, n: int) -> Tensor:
    """Which of n queries answer for a target: (B, K) with -1 for none -> (B, n) bool."""
    return F.one_hot(queries + 1, n + 1)[..., 1:].any(1)


def contrastive_loss(similarity: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of a (B, B) similarity whose diagonal holds the true pairs; mean of both directions."""
    target = torch.arange(len(similarity), device=similarity.device)
    logits = similarity * scale
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def phrase_loss(
    regions: Tensor, texts: Tensor, phrases: Tensor, owned: Tensor, scale: Tensor,
    counted: Tensor | None = None, distractors: Tensor | None = None, shares: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Regions and the phrases of captions, each found among the other's: the mean of two negative log likelihoods.

    A caption's phrase comes from one of its picture's regions, nobody says which: P(phrase | picture) is the mean over
    regions of P(phrase | region), a softmax over all phrases of the batch, as a picture is read in use. The other way
    round, P(picture | phrase) is what the regions of the phrase's pictures have in a softmax over all regions of the
    batch. A phrase that was drawn n times counts once: otherwise names that captions say often would be pushed away
    from regions for being frequent. What a picture holds and its caption leaves out costs nothing the first way.

    Args:
        regions: (B, N, E); texts: (P, E) of the drawn phrases, both of unit length; scale: one over the temperature.
        phrases: (P,) int64, the same number for the same text.
        owned: (B, F) int64, all phrases of each picture's caption, filled up with -1; each drawn phrase is owned.
        counted: (B, N) bool, regions to leave out are False.
        distractors: (R, E) of unit length, more phrases that a region might be given, none of them drawn: in use a
            region is told apart from every known phrase, of which a batch holds few.
        shares: (B, N, P), of each region in both means for each phrase, instead of equal ones (`train.ground`).
    """
    logits = torch.einsum("bne,pe->bnp", regions, texts) * scale
    positive = (owned[:, :, None] == phrases).any(1)  # (B, P)
    copies = (phrases[:, None] == phrases).sum(1)  # (P,)
    compete = logits - copies.log()
    if distractors is not None:
        compete = torch.cat([compete, torch.einsum("bne,re->bnr", regions, distractors) * scale], 2)  # (B, N, P + R)
    names = logits - compete.logsumexp(2, keepdim=True)  # (B, N, P) log P(phrase | region)
    if counted is not None:
        logits, names = (x.masked_fill(~counted.bool()[..., None], -torch.inf) for x in (logits, names))
    if shares is not None:
        shares = shares.clamp(min=1e-9).log()
        named, found = (names + shares).logsumexp(1), (logits + shares).logsumexp(1)  # (B, P)
        return _both_ways(named, found, positive, copies)
    regions_each = names.shape[1] if counted is None else counted.sum(1, keepdim=True).clamp(min=1)
    named = names.logsumexp(1) - torch.as_tensor(regions_each, device=names.device).log()  # (B, P)
    found = logits.logsumexp(1)  # (B, P)
    return _both_ways(named, found, positive, copies)


def _both_ways(named: Tensor, found: Tensor, positive: Tensor, copies: Tensor) -> Tensor:
    """The mean of the two negative log likelihoods of `phrase_loss`; named, found, positive (B, P), copies (P,)."""
    placed = found.masked_fill(~positive, -torch.inf).logsumexp(0) - found.logsumexp(0)  # (P,)
    share = positive / copies
    return -((named * share).sum() / share.sum() + (placed / copies).sum() / (1 / copies).sum()) / 2
