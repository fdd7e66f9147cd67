"""Features of an image encoder that has learned to tell classes apart, that of the weights `photos`."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sseg.errors import SSegError
from sseg.features.base import FeatureSource, check_pixels, normalised, positions
from sseg.features.random_walk import diffused
from sseg.features.textons import TextonFeatures, main_directions
from sseg.models.folding import fold_norms
from sseg.paths import WEIGHTS

FOLDER = "photos"
PREFIX = "segmenter.pixel_level_module.encoder._backbone."  # of the encoder's tensors in S-Seg weights
CELL = 8  # pixels a side of a cell, in the picture as the encoder sees it
STRIDE = 16  # of the map that is read
BLOCKS = 5  # of the encoder's seven, to that map: those behind it see more of the picture, and less of where things end
DIRECTIONS = 32  # of each picture's own, that are kept of the map's 120 channels
SHARE = 3.5  # deviation of the encoder's features where those of position have 1.5
PLACE = 1.5  # deviation of position where there are no textons, which bring it along
COLOUR = {"colour": 0.49, "surround": 0.42, "deviation": 0.085}  # as in `mini`
WIDTH, STEPS = 0.08, 4  # of `diffused`


class EncoderFeatures(FeatureSource):
    """What an EfficientNet-Lite that has seen ImageNet's class labels says of each cell, as unit vectors, their main
    directions in each picture; then all spread among cells alike (`random_walk`).

    Facets: "tokens", beside texture, colour and position (`TextonFeatures`), as the features `mini` are; "maps",
    beside position alone. The encoder's tensors are those of the bundled weights `photos`, which training left as they
    came. How the numbers were chosen says docs/log.md.
    """

    name = "encoder"
    label = "encoder of photos, learned from ImageNet's class labels"
    stride = CELL
    facets: tuple[str, ...] = ("tokens", "maps")

    def __init__(self, facet: str | None = None, device="cpu", folder=None):
        """`facet`: one of `facets`, None is the first. `folder`: other weights than the bundled `photos`.
        Raises SSegError: the weights are missing or damaged, or have another kind of encoder."""
        self.device = torch.device(device)
        self.trunk, self.mean, self.std = load_trunk(WEIGHTS / FOLDER if folder is None else Path(folder))
        self.trunk.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.textons = None if facet == "maps" else TextonFeatures(**COLOUR, spread=False)

    @torch.inference_mode()
    def __call__(self, pixels, grid):
        """See `FeatureSource.__call__`."""
        check_pixels(pixels, grid)
        seen = torch.cat([self.maps(one, grid) for one in pixels.split(1)])  # one by one fits a processor's cache
        seen = F.interpolate(F.normalize(seen, dim=1), size=grid, mode="bilinear", align_corners=False)
        cells = SHARE * main_directions(seen, DIRECTIONS, 0.01).permute(0, 2, 3, 1).to(pixels.device)
        if self.textons is None:
            place = PLACE * positions(grid, pixels.device).permute(0, 2, 3, 1)
            beside = place.expand(len(pixels), -1, -1, -1)
        else:
            beside = self.textons(pixels, grid)
        return diffused(torch.cat([cells, beside], -1), WIDTH, STEPS)

    @torch.inference_mode()
    def maps(self, pixels, grid) -> Tensor:
        """The encoder's map of pictures (B, 3, H, W) uint8, seen at the cells' full resolution: (B, C, h', w'), a place
        for about every two by two cells."""
        size = tuple(STRIDE * max(1, round(CELL * cells / STRIDE)) for cells in grid)
        seen = normalised(pixels, size, self.mean, self.std, self.device)
        return self.trunk(seen.contiguous(memory_format=torch.channels_last))


def load_trunk(folder: Path) -> tuple[nn.Module, list[float], list[float]]:
    """The encoder of S-Seg weights as far as it is read, its norms folded; and what it takes for a pixel's mean and
    deviation. Only these tensors of the file are read. Raises SSegError: see `EncoderFeatures`."""
    if not folder.is_dir():
        raise SSegError(f"The weights {folder.name} are not bundled in this version: choose the features mini.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):  # first numbers would be drawn for nothing
            trunk = build_trunk(config["backbone"]["backbone"])
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            tensors = {name: file.get_tensor(PREFIX + name).float() for name in trunk.state_dict()}
        trunk.load_state_dict(tensors, assign=True)
        mean, std = config["pixel_mean"], config["pixel_std"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, SafetensorError) as error:
        raise SSegError(
            f'The weights in "{folder}" are damaged, or have no EfficientNet of timm for an encoder: '
            "get them again, or choose the features mini."
        ) from error
    if not all(tensor.isfinite().all() for tensor in trunk.state_dict().values()):
        raise SSegError(f'The encoder of "{folder}" holds values that are not finite: get the weights again.')
    trunk.eval().requires_grad_(False)
    fold_norms(trunk)
    return trunk, mean, std


def build_trunk(name: str) -> nn.Module:
    """timm's EfficientNet of that name as far as it is read, its tensors named as there."""
    import timm
    from timm.layers import freeze_batch_norm_2d

    whole: Any = timm.create_model(name, features_only=True)
    parts = {"conv_stem": whole.conv_stem, "bn1": whole.bn1, "blocks": whole.blocks[:BLOCKS]}
    return freeze_batch_norm_2d(nn.Sequential(OrderedDict(parts)))
