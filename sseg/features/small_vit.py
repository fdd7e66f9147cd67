"""Features of features-mini, the small ViT trained on images alone: train/distill.py, then train/cluster_distill.py."""

from pathlib import Path

import torch
import torch.nn.functional as F

from sseg.errors import SSegError
from sseg.features.base import FeatureSource, check_pixels, normalised
from sseg.features.random_walk import diffused
from sseg.features.textons import TextonFeatures, main_directions
from sseg.models.small_vit import MEAN, PATCH, STD, load_network
from sseg.paths import WEIGHTS

FOLDER = "features-mini"
SCALES = (0.64, 1.0)  # sides at which the network sees a picture, of the side that the cells have together
DIRECTIONS = 32  # of each picture's own, that are kept of the network's 64 dimensions at each scale
SHARE = 3.5  # deviation of the network's features where those of position have 1.5
COLOUR = {"colour": 0.49, "surround": 0.42, "deviation": 0.085}  # less than in textons
WIDTH, STEPS = 0.08, 4  # of `diffused`: narrower than for textons


class MiniFeatures(FeatureSource):
    """What the bundled ViT says of each cell, beside its texture, colour and position (`TextonFeatures`); then all
    spread among cells alike (`random_walk`).

    The network sees the picture twice: small, where things have the size that it was trained with, and at the cells'
    full resolution. Scales and all other numbers were chosen on development pictures (docs/log.md).
    """

    name = "mini"
    label = "small ViT, learned here without labels"
    stride = PATCH

    def __init__(self, device="cpu", folder=None, spread=True, scales=SCALES):
        """`folder`: other weights of train/distill.py. `spread`: whether features spread among cells alike, to measure
        what that does. `scales`: sides at which the network looks, of the side that the cells have together.
        Raises SSegError: the weights are missing or damaged."""
        self.spread, self.scales = spread, scales
        folder = WEIGHTS / FOLDER if folder is None else Path(folder)
        if not folder.is_dir():
            raise SSegError("The weights features-mini are not bundled in this version: choose the features pixels.")
        self.network = load_network(folder).eval().to(device)
        self.textons = TextonFeatures(**COLOUR, spread=False)

    @torch.inference_mode()
    def __call__(self, pixels, grid):
        """See `FeatureSource.__call__`."""
        check_pixels(pixels, grid)
        seen = torch.cat([self._seen(pixels, grid, scale) for scale in self.scales], 1)
        cells = SHARE * main_directions(seen, DIRECTIONS, 0.01).permute(0, 2, 3, 1).to(pixels.device)
        cells = torch.cat([cells, self.textons(pixels, grid)], -1)
        return diffused(cells, WIDTH, STEPS) if self.spread else cells

    def _seen(self, pixels, grid, scale):
        """What the network says of each cell, looking at one scale: (B, e, h, w)."""
        size = tuple(PATCH * max(2, round(scale * cells)) for cells in grid)
        patches = self.network(normalised(pixels, size, MEAN, STD, self.network.cls.device))[0]  # (B, h', w', e)
        return F.interpolate(patches.permute(0, 3, 1, 2), size=grid, mode="bilinear", align_corners=False)
