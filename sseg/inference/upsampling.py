"""From scores on the model's grid to values of pixels: bilinear, with only what can win enlarged."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_STRIP = 250_000  # full-size score values worked on at once: 1 MB, which a core's cache holds


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (C, h, w) -> (C, H, W), bilinear."""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def contenders(scores: Tensor) -> Tensor:
    """Which classes can win between the samples of scores (C, h, w): (C, h + 1) bool, one for each row of cells.

    A bilinear value lies between the least and the greatest of its 2 x 2 neighbours, so a class whose greatest is
    below some other's least in every cell never wins: exact, and it spares most of a long list.
    """
    padded = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")[0]
    left, right = padded[:, :, :-1], padded[:, :, 1:]
    high, low = torch.maximum(left, right), torch.minimum(left, right)  # four times as fast as max_pool2d
    high = torch.maximum(high[:, :-1], high[:, 1:])  # (C, h + 1, w + 1)
    low = torch.minimum(low[:, :-1], low[:, 1:])
    return (high >= low.amax(0)).any(2)


def top_class(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The best class of each pixel at full size, from scores (C, h, w).

    Returns:
        best (H, W) int32 and its score (H, W) float32: the argmax of `upsample`, taken strip by strip, so that what is
        worked on stays in the cache and only the classes that can win in a strip are resized.
    """
    (rows, columns), h = size, scores.shape[1]
    best = torch.empty(size, dtype=torch.int32, device=scores.device)
    value = torch.empty(size, device=scores.device)
    possible = contenders(scores)  # (C, h + 1)
    source = ((torch.arange(rows, device=scores.device) + 0.5) * (h / rows) - 0.5).clamp(0, h - 1)  # row in the scores
    above = source.floor().long()
    below = (above + 1).clamp(max=h - 1)
    share = (source - above).view(1, -1, 1)
    values_at_once = _STRIP if scores.device.type == "cpu" else 64 * _STRIP
    height = max(1, values_at_once // (columns * int(possible.any(1).sum())))
    for top in range(0, rows, height):
        strip = slice(top, min(top + height, rows))
        first, end = int(above[strip.start]), int(above[strip.stop - 1]) + 2
        classes = possible[:, first + 1 : end].any(1).nonzero()[:, 0]
        lines = scores[classes, first:end]
        lines = upsample(lines, (lines.shape[1], columns))  # wider first: done on few rows, this costs least
        upper, lower = (lines.index_select(1, near[strip] - first) for near in (above, below))
        best[strip], value[strip] = _highest(torch.lerp(upper, lower, share[:, strip]), classes.to(torch.int32))
    return best, value


def _highest(maps: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Class of the highest of maps (C, H, W) at each pixel and its value, both (H, W); the first class of equals.

    `classes` (C,) int32, ascending. Class by class, in operations that have vector instructions: `max(0)`, which has
    none where it returns indices, and then `classes[index]` take two to five times as long.
    """
    value, best = maps[0], classes[0].expand(maps.shape[1:])
    for index, other in zip(classes[1:], maps[1:], strict=True):
        best = torch.maximum(best, (other > value) * index)  # a later class has a greater index
        value = torch.maximum(value, other)
    return best, value


def at_pixel(maps: Tensor, x: int, y: int, size: tuple[int, int]) -> Tensor:
    """Values (C,) of maps (C, h, w) at pixel (x, y) of a picture of `size` (H, W); the same as in `upsample`."""
    grid = torch.tensor([[(2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1]], device=maps.device, dtype=maps.dtype)
    sampled = F.grid_sample(maps[None], grid.view(1, 1, 1, 2), padding_mode="border", align_corners=False)
    return sampled[0, :, 0, 0]
