"""Kept maps of unlabelled photographs: what self-training behind a frozen encoder learns from (train/data/maps.py).

The photographs are those of image-text tars; their captions are not read.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from train.data.maps import Kept, keep, readable, samples_of
from train.data.shards import data_path


class KeptPictures:
    """The first view of each photograph, whole and squashed to a square, as the encoder's maps, fine to coarse."""

    def __init__(self, recipe: dict):
        """`recipe`: the `data` of a recipe (`train/recipes/plus-photos.yaml`), as that of S-Seg's own run; `count`: only the
        first so many photographs, which are drawn by chance from all."""
        self.kept = Kept(data_path(recipe["folder"]), recipe["size"], 1, recipe["clusters"])
        self.samples = readable(self.kept.folder, samples_of(data_path(recipe["root"]), recipe.get("only", "*")))
        self.keys = [sample.key for sample in self.samples[: recipe.get("count")]]

    def keep(self, encoder: nn.Module, name: str, mean, std) -> None:
        """Make what is missing of the maps (`train.data.maps.keep`), and open them."""
        keep(self.kept, self.samples, encoder, name, mean, std)
        files = [self.kept.file(0, f"level-{i}") for i in range(len(encoder.channels))]
        self.levels = [np.load(file, mmap_mode="r") for file in files]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the coarsest map: what labels are given for."""
        return self.levels[-1].shape[2:]

    def maps(self, rows: list[int]) -> list[Tensor]:
        """(n, C, h, w) float32 of each level."""
        order = np.argsort(rows, kind="stable")  # as they lie on the disk
        back = np.argsort(order, kind="stable")
        return [torch.from_numpy(np.stack([level[rows[i]] for i in order])[back]).float() for level in self.levels]

    def windows(self, rows: list[int], draws: Tensor, least: float) -> tuple[list[Tensor], Tensor]:
        """Maps of random windows of whole cells, half of them mirrored, and where they lie.

        Args:
            draws: (4,) uniform in 0..1: side, place along x and y of all n windows; (n,) `flips` are drawn by row.
            least: shortest side, as a share of the map's.
        Returns:
            maps (n, C, h, w) of each level; theta (n, 2, 3) from window to picture coordinates (`train.data.grids`).
        """
        maps, cells = self.maps(rows), self.grid[0]
        side = min(cells, round(cells * (least + (1 - least) * float(draws[0]))))
        left, top = (int(draw * (cells - side + 1)) for draw in draws[1:3].tolist())
        flips = torch.rand(len(rows), generator=torch.Generator().manual_seed(int(draws[3] * 2**31))) < 0.5
        cropped = []
        for each in maps:
            scale = each.shape[-1] // cells
            part = each[..., scale * top : scale * (top + side), scale * left : scale * (left + side)]
            cropped.append(torch.where(flips[:, None, None, None], part.flip(3), part).contiguous())
        theta = torch.zeros(len(rows), 2, 3)
        theta[:, 0, 0] = torch.where(flips, -side / cells, side / cells)
        theta[:, 1, 1] = side / cells
        theta[:, 0, 2], theta[:, 1, 2] = (2 * (start + side / 2) / cells - 1 for start in (left, top))
        return cropped, theta

    def digest(self) -> str:
        """A name for these photographs, in their order."""
        return hashlib.blake2b("\n".join(self.keys).encode(), digest_size=8).hexdigest()
