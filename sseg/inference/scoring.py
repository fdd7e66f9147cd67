"""From masks and embeddings to scores: pure functions of tensors (paper.md, section 7 and 9.14)."""

import torch
import torch.nn.functional as F
from torch import Tensor

LIKELY = 0.5  # score from which a phrase is probably somewhere in a picture


def mask_weights(mask_logits: Tensor, combine: str = "soft") -> Tensor:
    """How much each query says about each pixel: (N, h, w) in [0, 1], summing to at most 1 over the queries.

    "soft": sigmoid(mask) / max(1, sum of sigmoids): MaskFormer's semantic inference, kept a probability where masks
    overlap; a pixel that no mask claims gets low scores and so becomes background. "hard": each pixel belongs to its
    best mask alone.
    """
    if combine == "hard":
        return F.one_hot(mask_logits.argmax(0), mask_logits.shape[0]).permute(2, 0, 1).to(mask_logits.dtype)
    if combine != "soft":
        raise ValueError(f'combine is "soft" or "hard", not {combine!r}')
    weights = mask_logits.sigmoid()
    return weights / weights.sum(0, keepdim=True).clamp(min=1)


def class_logits(
    mask_embeddings: Tensor, text_embeddings: Tensor, scale, groups: Tensor | None = None, offsets: Tensor | float = 0.0
):
    """Scaled cosines (N, C) of masks and classes, and which text won each: (N, C) index into the T texts.

    `offsets`, (T,) or (N, T), are taken off the logits of each text.

    `groups` (T,) names each text's class; a class is as near as its nearest synonym, so that synonyms never compete
    with one another in the softmax. Without groups each text is its own class.
    """
    cosines = mask_embeddings @ text_embeddings.T * scale - offsets  # (N, T)
    if groups is None:
        return cosines, torch.arange(cosines.shape[1], device=cosines.device).expand_as(cosines)
    classes = int(groups.max()) + 1
    best = cosines.new_full((cosines.shape[0], classes), -torch.inf)
    best = best.scatter_reduce(1, groups.expand_as(cosines), cosines, "amax")
    won = cosines == best[:, groups]  # (N, T)
    texts = torch.arange(len(groups), device=groups.device)
    winner = torch.zeros_like(best, dtype=torch.long)
    winner = winner.scatter_reduce(1, groups.expand_as(cosines), torch.where(won, texts, 0), "amax")
    return best, winner


def combine_scores(weights: Tensor, probabilities: Tensor) -> Tensor:
    """Sum over queries: weights (N, h, w) and probabilities (N, C) -> scores (C, h, w)."""
    scores = probabilities.T @ weights.flatten(1)
    return scores.clamp(max=1).view(-1, *weights.shape[1:])  # rounding may carry a sum of ones a little above


def contrast(scores: Tensor, share: float) -> Tensor:
    """Scores (C, h, w) of phrases, those that are likely somewhere measured against their best place there.

    Words that training often said are surer of themselves than others: where a lion's best place has 0.7, what has 0.5
    is as likely the lion as what has 0.7 is the dog where that has 1. So a phrase whose highest score is at least
    `LIKELY` has its scores divided by the `share`-th power of that; the others, which are probably nowhere, stay.
    """
    if not share:
        return scores
    best = scores.amax((1, 2), keepdim=True)
    return torch.where(best >= LIKELY, scores / best.clamp(min=LIKELY) ** share, scores)


def class_scores(
    weights: Tensor, mask_embeddings: Tensor, text_embeddings: Tensor, scale, groups: Tensor | None = None,
    offsets: Tensor | float = 0.0,
) -> Tensor:  # fmt: skip
    """Probability of each class at each pixel: (C, h, w) in [0, 1].

    Sum over queries of mask weight x softmax over classes of scale x cosine (paper.md, 9.14).

    Args:
        weights: (N, h, w) from `mask_weights`; mask_embeddings: (N, E) and text_embeddings: (T, E), of unit length.
        scale: one over the temperature.
        groups, offsets: see `class_logits`.
    """
    logits, _ = class_logits(mask_embeddings, text_embeddings, scale, groups, offsets)
    return combine_scores(weights, logits.softmax(1))
