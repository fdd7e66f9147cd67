"""Outlines of clusters that follow the picture: from the cells that were clustered to finer labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 4  # labels along each side of a cell
RADIUS = 2  # of the filter's windows, in cells
SHARPNESS = 1e-3  # variance of colour (0..1) below which a window counts as flat


def colours(pixels: Tensor, grid: Sequence[int]) -> Tensor:
    """What `follow` needs of a picture (3, H, W), 0..255, divided into a grid of (h, w) cells: uint8
    (3, FINE * h, FINE * w)."""
    size = tuple(FINE * cells for cells in grid)
    found = F.interpolate(pixels[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    return found[0].round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def follow(ids: Tensor, colours: Tensor) -> Tensor:
    """Labels on a grid FINE times as fine as the cells, whose borders lie where colours change.

    The guided filter (He, Sun, Tang 2013, "Guided image filtering") of each cluster's mask, guided by the picture: in
    every window a mask is taken for a linear function of colour. As in "Fast guided filter" (He and Sun 2015) the
    functions are found on the cells and used on the finer grid; each place goes to the mask that is the greatest there.

    ids: (..., h, w) int64, several divisions of one picture; colours: those of the picture. Returns
    (..., FINE * h, FINE * w) int64; a cluster of very few cells may vanish.
    """
    shades = colours.float() / 255
    means = F.avg_pool2d(shades, FINE)  # (3, h, w)
    every = [F.one_hot(one).permute(2, 0, 1).float() for one in ids.reshape(-1, *ids.shape[-2:])]  # (k, h, w) each
    found = [_guided(masks, means, shades).argmax(0) for masks in every]
    return torch.stack(found).view(*ids.shape[:-2], *shades.shape[1:])


@torch.no_grad()
def soft_follow(masks: Tensor, colours: Tensor) -> Tensor:
    """As `follow`, of soft masks (k, h, w) in 0..1 -> (k, FINE * h, FINE * w) in 0..1, at most 1 in sum."""
    shades = colours.float() / 255
    found = _guided(masks, F.avg_pool2d(shades, FINE), shades).clamp(0, 1)
    return found / found.sum(0).clamp(min=1)


def _guided(masks: Tensor, means: Tensor, colours: Tensor) -> Tensor:
    """Masks (k, h, w) guided by colours (3, FINE * h, FINE * w), of cell means (3, h, w): values at the finer grid."""
    mean, mask = _window(means), _window(masks)
    variance = _window(means[:, None] * means[None]) - mean[:, None] * mean[None]  # (3, 3, h, w)
    covariance = _window(means[:, None] * masks[None]) - mean[:, None] * mask[None]  # (3, k, h, w)
    flat = SHARPNESS * torch.eye(3, device=masks.device)
    slopes = torch.linalg.solve(variance.permute(2, 3, 0, 1) + flat, covariance.permute(2, 3, 0, 1))  # (h, w, 3, k)
    slopes = slopes.permute(2, 3, 0, 1)  # (3, k, h, w)
    offsets = mask - (slopes * mean[:, None]).sum(0)
    lines = _window(torch.cat([slopes, offsets[None]]))  # (4, k, h, w)
    lines = F.interpolate(lines, colours.shape[-2:], mode="bilinear", align_corners=False)
    return (lines[:3] * colours[:, None]).sum(0) + lines[3]


def _window(planes: Tensor) -> Tensor:
    """Mean over each place's window, whose part outside of the picture does not count: (..., h, w)."""
    flat = planes.reshape(1, -1, *planes.shape[-2:])
    mean = F.avg_pool2d(flat, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)
    return mean.view(planes.shape)
