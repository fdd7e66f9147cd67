"""Features without a network: a dictionary of whitened patches says what texture is where, beside colour and place."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sseg.errors import SSegError
from sseg.features.base import FeatureSource, cell_means, check_pixels
from sseg.features.pixels import PixelFeatures, opponent
from sseg.features.random_walk import diffused
from sseg.paths import WEIGHTS

CELL = 8  # pixels a side of a cell, in the picture as it is looked at
SCALES = ((1, 4), (2, 2))  # the picture shrunk so many times, and a response every so many pixels of it
CELLS_AT_ONCE = 4096  # that go through the dictionary together: what is worked on stays in a processor's cache
SOFTNESS = 0.06  # deviation, in opponent colours of 0..1, within which a pixel counts for several colour words
TENSORS = ("filters", "offsets", "floor", "colours")


class Dictionary(NamedTuple):
    """Centres of whitened patches, as the one convolution that they come to (`train.textons.fold`), and of colours."""

    filters: Tensor  # (k, 3, p, p)
    offsets: Tensor  # (k,)
    floor: Tensor  # (): variance, 0..255 squared, that is added to that of a patch
    colours: Tensor  # (m, 3): opponent colours


class TextonFeatures(FeatureSource):
    """Textons at two scales, colour words, and the features of `pixels`; d = the numbers of directions + 11.

    The dictionary is that of Coates and Ng (2011, "An analysis of single-layer networks in unsupervised feature
    learning"): centres of contrast-normalised, whitened 6x6 patches, found by K-Means without any labels. A place of
    the picture responds to a centre by how much nearer it is than the centres' mean squared distance. Colour words are
    centres of single pixels' colours; a pixel is shared among those near it. Both are averaged over a cell and its
    surroundings, so a spotted coat is one thing, and of both come the picture's own main directions. At last all spread
    among cells alike (`random_walk`). How weights and sizes were chosen says docs/log.md.
    """

    name = "textons"
    label = "texture, colour and position"

    def __init__(
        self,
        folder=None,
        texture=2.9,
        words=2.3,
        colour=0.7,
        surround=0.6,
        deviation=0.12,
        position=1.5,
        window=5,
        directions=(24, 8),
        spread=True,
    ):
        """Weights of the groups of features, and:

        folder: a dictionary that `train.textons` has made, None for the bundled one. window: cells a side of the
        square that responses are averaged over, twice. directions: how many of textons, and of colour words. spread:
        whether features spread among cells alike; False where others are to join them first.
        Raises SSegError: a file is missing or damaged."""
        self.dictionary = load_dictionary(WEIGHTS / self.name if folder is None else Path(folder))
        self.pixels = PixelFeatures(colour, surround, deviation, position)
        self.texture, self.words, self.window, self.directions = texture, words, window, directions
        self.spread = spread

    @torch.no_grad()
    def __call__(self, pixels, grid):
        """See `FeatureSource.__call__`."""
        check_pixels(pixels, grid)
        dictionary = Dictionary(*(tensor.to(pixels.device) for tensor in self.dictionary))
        batches = pixels.split(max(1, CELLS_AT_ONCE // (grid[0] * grid[1])))
        found = torch.cat([self._run(batch, grid, dictionary) for batch in batches])
        return diffused(found) if self.spread else found

    def _run(self, pixels, grid, dictionary):
        textons = torch.cat([texton_means(pixels, grid, dictionary, *scale) for scale in SCALES], 1)
        words = colour_word_means(pixels, grid, dictionary.colours)
        textons, words = (window_means(window_means(x, self.window), self.window) for x in (textons, words))
        planes = [
            self.texture * main_directions(textons, self.directions[0], 1.0),
            self.words * main_directions(words.sqrt(), self.directions[1], 0.01),
        ]
        return torch.cat([torch.cat(planes, 1).permute(0, 2, 3, 1), self.pixels(pixels, grid)], -1)


def texton_means(pixels, grid, dictionary, shrink, stride):
    """Mean responses of each cell, (B, k, h, w), in the picture of CELL / shrink pixels a cell."""
    patch = dictionary.filters.shape[-1]
    size = tuple(max(patch, round(cells * CELL / shrink)) for cells in grid)
    return cell_means(responses(resized(pixels, size), dictionary, stride), grid)


def responses(x, dictionary, stride):
    """Pictures (B, 3, H, W), 0..255 -> (B, k, about H / stride, about W / stride), each at least 0.

    Squared distances from a whitened patch x to centres c are |x|^2 - 2 c.x + |c|^2; in their difference to the mean
    over the centres |x|^2 cancels, so one convolution, divided by the patch's contrast, gives all of them.
    """
    patch = dictionary.filters.shape[-1]
    x = F.pad(x - 127.5, ((patch - 1) // 2, patch // 2) * 2, mode="replicate")
    mean = F.avg_pool2d(x.mean(1, keepdim=True), patch, stride)
    variance = F.avg_pool2d(x.square().mean(1, keepdim=True), patch, stride) - mean.square()
    contrast = variance.clamp_min_(0).add_(dictionary.floor).rsqrt_()
    patches = F.unfold(x, patch, stride=stride)  # (B, 3pp, T): as a product, half of the time of conv2d on a CPU
    found = (dictionary.filters.flatten(1) @ patches).unflatten(2, contrast.shape[-2:])
    return found.mul_(contrast).add_(dictionary.offsets[:, None, None]).relu_()


def colour_word_means(pixels, grid, colours):
    """Share of each colour word in each cell, (B, m, h, w): 16 pixels a cell, each shared by nearness (softmax)."""
    x = opponent(resized(pixels, tuple(cells * CELL // 2 for cells in grid)).div_(255))
    scores = F.conv2d(x, colours[:, :, None, None]) - colours.square().sum(1)[:, None, None] / 2
    return cell_means(scores.div_(SOFTNESS**2).softmax(1), grid)


def window_means(planes, side):
    """Means over side x side cells around each, fewer at the edges; side is odd."""
    for window, border in (((side, 1), (side // 2, 0)), ((1, side), (0, side // 2))):
        planes = F.avg_pool2d(planes, window, 1, border, count_include_pad=False)
    return planes


def resized(pixels, size):
    """uint8 (B, 3, H, W) -> float32 (B, 3, *size), 0..255, with antialiasing."""
    x = pixels.float()
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", antialias=True)


def main_directions(planes, count, least):
    """Each picture's own principal components over its cells, `count` of them, weak ones strengthened.

    (B, c, h, w) -> (B, count, h, w): in a picture a component's deviation is the square root of what it was (between
    plain PCA and whitening), then all are scaled to a total variance of 1. A picture whose total deviation is below
    `least` is left dull; components that are not there are 0. Signs: a direction's largest entry is positive.
    """
    x = planes.flatten(2)
    x = x - x.mean(2, keepdim=True)
    covariance = (x @ x.transpose(1, 2) / x.shape[2]).double()  # in single, LAPACK gives up on plain pictures
    variances, directions = (found.float() for found in torch.linalg.eigh(covariance))  # ascending
    variances, directions = variances[:, -count:].flip(1).clamp_min(0), directions[:, :, -count:].flip(2)
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    deviations = variances.sqrt()  # (B, count)
    total = deviations.sum(1, keepdim=True).clamp_min(least).sqrt()
    scale = torch.where(deviations > 0, deviations.clamp_min(1e-3 * least).rsqrt(), 0) / total
    found = (directions * signs * scale[:, None]).transpose(1, 2) @ x
    found = F.pad(found, (0, 0, 0, count - found.shape[1]))
    return found.unflatten(2, planes.shape[-2:])


def load_dictionary(folder: Path) -> Dictionary:
    """The dictionary of a folder. Raises SSegError if it is missing, damaged, or not a dictionary."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise SSegError(f'There is no texton dictionary "{path}": learn one with train.textons, or reinstall sseg.')
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError):
        raise SSegError(f'The texton dictionary "{path}" is damaged: get the file again.') from None
    if not _fits(tensors):
        raise SSegError(f'"{path}" does not hold a texton dictionary: get the file again.')
    return Dictionary(*(tensors[name].float() for name in TENSORS))


def _fits(tensors: dict[str, Tensor]) -> bool:
    if set(tensors) != set(TENSORS) or not all(tensor.isfinite().all() for tensor in tensors.values()):
        return False
    filters, offsets, floor, colours = (tensors[name] for name in TENSORS)
    return (
        filters.ndim == 4
        and filters.shape[1] == 3
        and filters.shape[2] == filters.shape[3]
        and offsets.shape == filters.shape[:1]
        and floor.ndim == 0
        and bool(floor > 0)
        and colours.ndim == 2
        and colours.shape[1] == 3
    )
