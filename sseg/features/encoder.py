"""Features of the bundled segmenter's image encoder, beside texture, colour and position."""

from pathlib import Path

import torch
import torch.nn.functional as F

from sseg.errors import SSegError
from sseg.features.base import FeatureSource, check_pixels, normalised
from sseg.features.diffusion import diffused
from sseg.features.textons import TextonFeatures, main_directions
from sseg.folding import fold_norms
from sseg.paths import WEIGHTS

FOLDER = "photos"
COARSEST = 32  # the encoder's last stride, before it was dilated: sides are multiples of it
DIRECTIONS = 32  # of each picture's own, that are kept of the map's channels
SHARE = 3.5  # deviation of the encoder's features where those of position have 1.5
WIDTH, STEPS = 0.08, 4  # of `diffused`


class EncoderFeatures(FeatureSource):
    """The last map but one of the encoder of `photos` (EfficientNet-Lite, which has seen ImageNet's class labels), its
    main directions in each picture, beside textons; then all spread among cells alike (`diffusion`).

    The encoder sees the picture at the cells' full resolution.
    """

    name = "encoder"
    label = "encoder of photos, learned from ImageNet's class labels"
    stride = 8

    def __init__(self, device="cpu", weights=None, textons=True):
        """`weights`: a folder instead of the bundled "photos"; `textons`: beside textons, or alone.
        Raises SSegError: the weights are missing or damaged, or have no encoder of timm."""
        from sseg.checkpoint import load_model

        folder = WEIGHTS / FOLDER if weights is None else Path(weights)
        if not folder.is_dir():
            raise SSegError(f"The weights {FOLDER} are not bundled in this version: choose the features mini.")
        model = load_model(folder)
        if model.config.backbone["model_type"] != "timm_backbone":
            raise SSegError(f'"{folder}" has no encoder of timm: choose the features sseg:{folder}.')
        self.mean, self.std, self.device = model.config.pixel_mean, model.config.pixel_std, torch.device(device)
        fold_norms(model.encoder)
        self.encoder = model.encoder.to(self.device, memory_format=torch.channels_last)
        self.textons = TextonFeatures(spread=False) if textons else None

    @torch.inference_mode()
    def __call__(self, pixels, grid):
        check_pixels(pixels, grid)
        seen = torch.cat([self._seen(one, grid) for one in pixels.split(1)])  # one by one fits a processor's cache
        cells = SHARE * main_directions(seen, DIRECTIONS, 0.01).permute(0, 2, 3, 1).to(pixels.device)
        if self.textons:
            cells = torch.cat([cells, self.textons(pixels, grid)], -1)
        return diffused(cells, WIDTH, STEPS)

    def _seen(self, pixels, grid):
        """Unit vectors of the last map but one: (B, C, h, w) at the grid."""
        size = tuple(COARSEST * max(1, round(8 * cells / COARSEST)) for cells in grid)
        values = normalised(pixels, size, self.mean, self.std, self.device)
        found = F.normalize(self.encoder(values.contiguous(memory_format=torch.channels_last)).feature_maps[-2], dim=1)
        return F.interpolate(found, size=grid, mode="bilinear", align_corners=False)
