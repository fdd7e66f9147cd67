"""What every feature source is, and what sources share."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F

from sseg.errors import SSegValueError

NAMES = ("auto", "dino", "mini", "encoder", "sseg", "textons", "pixels")  # what a menu shows, the best first


class FeatureSource(ABC):
    """A callable from pictures to one feature vector a grid cell. Its features are scaled so that K-Means by Euclidean
    distance is right for them: unit vectors where the angle is what counts."""

    name: str
    label: str  # what it is, in a few words, for people
    stride = 1  # pixels of the picture, as the source sees it, between the finest cells that it can tell apart
    facets: tuple[str, ...] = ("tokens",)  # kinds of features to choose from, the first by default
    note = ""  # one sentence for people if the source was chosen for them: which, and why

    @abstractmethod
    def __call__(self, pixels, grid):
        """pixels (B, 3, H, W) uint8, grid (h, w) -> (B, h, w, d) float32 on the device of the pixels."""


def cell_means(planes, grid):
    """Area averages: (B, c, H, W) -> (B, c, h, w), each value the mean of the pixels under its cell."""
    (height, width), (rows, columns) = planes.shape[-2:], grid
    if height % rows == 0 and width % columns == 0:
        return F.avg_pool2d(planes, (height // rows, width // columns))
    return F.adaptive_avg_pool2d(planes, grid)


def positions(grid, device=None):
    """(1, 2, h, w): row and column of each cell, each with mean 0 and deviation about 1 along the longer side."""
    rows, columns = grid
    step = 12**0.5 / max(grid)  # a uniform spread over n cells has deviation n / sqrt(12)
    y = (torch.arange(rows, device=device) - (rows - 1) / 2) * step
    x = (torch.arange(columns, device=device) - (columns - 1) / 2) * step
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


def centred(planes):
    """Planes (B, c, h, w) without the mean of each."""
    return planes - planes.mean((2, 3), keepdim=True)


def deviation_of(planes):
    """(B, 1, 1, 1): the deviation of all planes of an image together, never 0."""
    return centred(planes).square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-3)


def check_pixels(pixels, grid):
    """SSegValueError for what is no batch of images (B, 3, H, W) uint8, or for a grid without cells."""
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype != torch.uint8:
        raise SSegValueError(f"Features need pictures as uint8 (B, 3, H, W), not {pixels.dtype} {tuple(pixels.shape)}.")
    if len(grid) != 2 or min(grid) < 1:
        raise SSegValueError(f"Features need a grid of at least 1 x 1 cells, not {tuple(grid)}.")


def check_facet(source, facet):
    """SSegValueError for a facet that the source does not have."""
    if facet not in (None, *source.facets):
        raise SSegValueError(
            f"The features {source.name!r} have no facet {facet!r}: choose {' or '.join(source.facets)}."
        )


def normalised(pixels, size, mean, std, device):
    """What a network takes: uint8 (B, 3, H, W) -> float32 (B, 3, *size) on the device, resized with antialiasing."""
    x = pixels.to(device).float().div_(255)
    if x.shape[-2:] != size:
        x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (mean, std))
    return x.sub_(mean).div_(std)
