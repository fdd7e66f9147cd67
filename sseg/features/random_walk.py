"""Features that have spread among cells alike, so that what hangs together becomes one group for K-Means."""

import math

import torch
from torch import Tensor

KEYS = 1024  # cells at most, evenly spaced, that features spread from: all of them cost several times more, for nothing
VALUES_AT_ONCE = 2**23  # of affinities: 32 MB


def diffused(features: Tensor, width: float = 0.1, steps: int = 3, ground: float = 0.6) -> Tensor:
    """Each cell's features replaced by a mean over the cells alike, `steps` times over; ground drawn together.

    A few steps of the random walk on the graph of cells, whose slow directions are what normalised cuts divide a
    picture by (Shi and Malik 2000; Coifman and Lafon 2006, "Diffusion maps"): cells of a thing that differ, but that
    others lie between, draw together, and thin bridges between things count little. K-Means then needs no eigenvectors.

    From where the walk ends at the picture's border more often than by chance, the cell is ground rather than a thing
    (Wei et al. 2012, "Geodesic saliency using background priors"; Jiang et al. 2013, "Saliency detection via absorbing
    Markov chain"). K-Means spends its clusters where features differ most, so ground is drawn towards its own mean.

    Args:
        features: (B, h, w, d), alike by Euclidean distance.
        width: squared distance at which affinity has fallen by e, as a share of the picture's mean squared distance.
        steps: of the walk; affinities are those of the features as they came.
        ground: a cell whose walk ends at the border s times as often as by chance is divided by (1 + s)^ground;
            0 leaves all as they are.

    Returns:
        (B, h, w, d), relative to the mean of each picture's ground (of all cells if ground = 0); all 0 where all cells
        are the same.
    """
    cells = features.shape[1] * features.shape[2]
    stride = math.ceil((cells / KEYS) ** 0.5)
    batch = max(1, VALUES_AT_ONCE // (cells * math.ceil(cells / stride**2)))
    return torch.cat([_diffused(part, width, steps, ground, stride) for part in features.split(batch)])


def _diffused(features, width, steps, ground, stride):
    cells = features.flatten(1, 2)  # (B, T, d)
    cells = cells - cells.mean(1, keepdim=True)
    mean_distance = 2 * cells.square().sum(2).mean(1)[:, None, None]  # between two cells by chance
    top, left = ((side - 1) % stride // 2 for side in features.shape[1:3])  # the same border on both sides
    keys = cells.unflatten(1, features.shape[1:3])[:, top::stride, left::stride]  # (B, h', w', d)
    border = at_border(keys)
    keys = keys.flatten(1, 2)
    scale = (width * mean_distance).clamp_min(1e-6)
    offset = keys.square().sum(2)[:, None]  # |q|^2 is the same for all keys: softmax drops it

    def affinities(queries):
        return ((2 * queries @ keys.transpose(1, 2) - offset) / scale).softmax(2)

    values = torch.cat([keys, border], 2)
    if steps > 1:
        among = affinities(keys)
        for _ in range(steps - 1):
            values = among @ values
    found, share = (affinities(cells) @ values).split((keys.shape[2], 1), 2)  # (B, T, d), (B, T, 1)
    if ground:
        found = found - (found * share).sum(1, keepdim=True) / share.sum(1, keepdim=True)
        found = found / (1 + share) ** ground
    return found.unflatten(1, features.shape[1:3])


def at_border(cells: Tensor) -> Tensor:
    """Which cells of (B, h, w, d) lie at the picture's border, (B, h * w, 1): 0, or a number that makes the mean 1."""
    border = torch.ones_like(cells[..., :1])
    border[:, 1:-1, 1:-1] = 0
    return (border / border.mean()).flatten(1, 2)
