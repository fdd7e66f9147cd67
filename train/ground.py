"""Ground: the regions that run along a picture's border, and what captions leave unsaid of them.

Captions name things and seldom what lies around them, so every region of a picture of a dog learns to say "dog": the
grass as well. Where a thing ends is a matter of masks, but that ground touches the border more often than things do is
known without any (Wei et al. 2012, "Geodesic saliency using background priors"). So regions at the border count less
when a thing of the caption is looked for, and have to say `BACKGROUND` rather than the name of a thing: one word of its
own, which captions do not teach. Words for surroundings are left alone by that; in use they share what the background
has (`sseg.segmenter`). Asked instead to say any word for surroundings, regions all said one that captions hardly use.
"""

import torch
from torch import Tensor

from train.data.kinds import load_kinds

LESS = 1.5  # a region with s times the border of chance counts (1 + s)^-LESS for things
GROUND = 1.4  # times the border of chance from which a region is ground
_FAR = -1e4  # a logit that never wins


def measure(mask_logits: Tensor) -> Tensor:
    """Area (share of the picture) and border (share of the region's cells at the border, 1 = chance) of each mask.

    (B, N, h, w) logits -> (B, N, 2); a cell belongs to its best mask. A mask without a cell has border 0.
    """
    owners = torch.nn.functional.one_hot(mask_logits.argmax(1), mask_logits.shape[1]).permute(0, 3, 1, 2).float()
    border = torch.ones_like(owners[:1, :1])
    border[..., 1:-1, 1:-1] = 0
    area = owners.mean((2, 3))
    at_border = (owners * (border / border.mean())).mean((2, 3)) / area.clamp(min=1e-6)
    return torch.stack([area, at_border], 2)


def names_surroundings(phrases: list[str]) -> Tensor:
    """Whether each phrase has a word for surroundings: (P,) bool."""
    words = load_kinds().surroundings
    return torch.tensor([any(word in words for word in phrase.split()) for phrase in phrases])


def for_things(measured: Tensor) -> Tensor:
    """How much each region counts when things are looked for: (B, N, 2) -> (B, N); none without area."""
    return (measured[..., 0] > 0) * (1 + measured[..., 1]) ** -LESS


def shares(measured: Tensor, surroundings: Tensor) -> Tensor:
    """Share of each region when a phrase is looked for: (B, N, 2) and (P,) bool -> (B, N, P), sums to 1 over regions.

    Regions without area have none; for `surroundings` all others have the same, for things those at the border less.
    """
    there = (measured[..., 0] > 0).float()  # (B, N)
    found = torch.where(surroundings, there[..., None], for_things(measured)[..., None])  # (B, N, P)
    return found / found.sum(1, keepdim=True).clamp(min=1e-6)


def ground_loss(regions: Tensor, measured: Tensor, background: Tensor, others: Tensor, surroundings: Tensor,
                scale: Tensor) -> Tensor:  # fmt: skip
    """Negative log likelihood that ground says the background's word rather than the name of a thing, by area.

    Args:
        regions: (B, N, E) of unit length; measured: (B, N, 2) of `measure`.
        background: (1, E) embedding of its word; others: (P, E) of phrases that compete, but for `surroundings`
            (P,) bool, those that name surroundings.
        scale: one over the temperature.
    """
    area, border = measured.unbind(2)
    ground = (border > GROUND) & (area > 0)
    found = regions[ground]
    own = found @ background.T * scale  # (G, 1)
    distractors = found @ others.T * scale + torch.where(surroundings, _FAR, 0.0)
    lost = torch.cat([own, distractors], 1).logsumexp(1) - own[:, 0]
    return (lost * area[ground]).sum() / area[ground].sum().clamp(min=1e-6)
