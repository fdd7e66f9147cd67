"""Outlines of clusters that follow the picture: from the cells that were clustered to finer labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 4  # labels along each side of a cell
RADIUS = 2  # of the filter's windows, in cells
SHARPNESS = 1e-3  # variance of colour (0..1) below which a window counts as flat


def colours(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
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
    found = [_follow(one, means, shades) for one in ids.reshape(-1, *ids.shape[-2:])]
    return torch.stack(found).view(*ids.shape[:-2], *shades.shape[1:])


def _follow(ids: Tensor, means: Tensor, colours: Tensor) -> Tensor:
    masks = F.one_hot(ids).permute(2, 0, 1).float()  # (k, h, w)
    mean, mask = _window(means), _window(masks)
    variance = _window(means[:, None] * means[None]) - mean[:, None] * mean[None]  # (3, 3, h, w)
    covariance = _window(means[:, None] * masks[None]) - mean[:, None] * mask[None]  # (3, k, h, w)
    flat = SHARPNESS * torch.eye(3, device=ids.device)
    slopes = torch.linalg.solve(variance.permute(2, 3, 0, 1) + flat, covariance.permute(2, 3, 0, 1))  # (h, w, 3, k)
    slopes = slopes.permute(2, 3, 0, 1)  # (3, k, h, w)
    offsets = mask - (slopes * mean[:, None]).sum(0)
    lines = _window(torch.cat([slopes, offsets[None]]))  # (4, k, h, w)
    lines = F.interpolate(lines, colours.shape[-2:], mode="bilinear", align_corners=False)
    return ((lines[:3] * colours[:, None]).sum(0) + lines[3]).argmax(0)


def _window(planes: Tensor) -> Tensor:
    """Mean over each place's window, whose part outside of the picture does not count: (..., h, w)."""
    flat = planes.reshape(1, -1, *planes.shape[-2:])
    mean = F.avg_pool2d(flat, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)
    return mean.view(planes.shape)
