"""Categories that a teacher likes too much are held back until all of them come to the same share of the pictures."""

import torch
from torch import Tensor

STEPS = 200


def equal_shares(probabilities: Tensor) -> Tensor:
    """Weights (C,) of the categories with which each has the same mean probability: of places (n, C) -> sums to C.

    ReMixMatch's distribution alignment (Berthelot et al. 2020, section 3.1) with a uniform prior, since nothing says
    how often a category occurs in unlabelled pictures; iterated as Sinkhorn's algorithm is, because each place's
    probabilities go on summing to one. A category without any probability does not move.
    """
    count = probabilities.shape[1]
    weights, some = torch.ones(count), probabilities.sum(0) > 0
    for _ in range(STEPS):
        shares = aligned(probabilities, weights).mean(0)
        weights = torch.where(some, weights / (count * shares).clamp(min=1e-6).sqrt(), weights)
    return weights * count / weights.sum()


def aligned(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Probabilities (..., C) times weights (C,), so that they sum to one again."""
    scaled = probabilities * weights
    return scaled / scaled.sum(-1, keepdim=True).clamp(min=1e-9)
