"""Features that have spread among cells alike, so that what hangs together becomes one group for K-Means."""

import math

import torch
from torch import Tensor

KEYS = 1024  # cells at most, evenly spaced, that features spread from: all of them cost several times more, for nothing
VALUES_AT_ONCE = 2**23  # of affinities: 32 MB


def diffused(features: Tensor, width: float = 0.1, steps: int = 3) -> Tensor:
    """Each cell's features replaced by a mean over the cells alike, `steps` times over.

    A few steps of the random walk on the graph of cells, whose slow directions are what normalised cuts divide a
    picture by (Shi and Malik 2000; Coifman and Lafon 2006, "Diffusion maps"): cells of a thing that differ, but that
    others lie between, draw together, and thin bridges between things count little. K-Means then needs no eigenvectors.

    Args:
        features: (B, h, w, d), alike by Euclidean distance.
        width: squared distance at which affinity has fallen by e, as a share of the picture's mean squared distance.
        steps: of the walk; affinities are those of the features as they came.

    Returns:
        (B, h, w, d), relative to each picture's mean; all 0 where all cells are the same.
    """
    cells = features.shape[1] * features.shape[2]
    stride = math.ceil((cells / KEYS) ** 0.5)
    batch = max(1, VALUES_AT_ONCE // (cells * math.ceil(cells / stride**2)))
    return torch.cat([_diffused(part, width, steps, stride) for part in features.split(batch)])


def _diffused(features, width, steps, stride):
    cells = features.flatten(1, 2)  # (B, T, d)
    cells = cells - cells.mean(1, keepdim=True)
    mean_distance = 2 * cells.square().sum(2).mean(1)[:, None, None]  # between two cells by chance
    top, left = ((side - 1) % stride // 2 for side in features.shape[1:3])  # the same border on both sides
    keys = cells.unflatten(1, features.shape[1:3])[:, top::stride, left::stride].flatten(1, 2)
    scale = (width * mean_distance).clamp_min(1e-6)
    offset = keys.square().sum(2)[:, None]  # |q|^2 is the same for all keys: softmax drops it

    def affinities(queries):
        return ((2 * queries @ keys.transpose(1, 2) - offset) / scale).softmax(2)

    values = keys
    if steps > 1:
        among = affinities(keys)
        for _ in range(steps - 1):
            values = among @ values
    return (affinities(cells) @ values).unflatten(1, features.shape[1:3])
