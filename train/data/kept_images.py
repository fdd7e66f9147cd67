"""Kept maps of unlabelled photographs: what self-training behind a frozen encoder learns from (train/data/maps.py).

The photographs are those of image-text tars; their captions are not read.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from train.data.maps import Kept, keep, readable, samples_of
from train.data.tars import data_path
from train.recipe.self_training import MapImages


class KeptImages:
    """The first view of each photograph, whole and squashed to a square, as the encoder's maps, fine to coarse."""

    def __init__(self, data: MapImages):
        """`data`: of a recipe (`train/recipes/plus-photos.yaml`), as that of S-Seg's own run; `count`:
        only so many photographs, the first, which are some of all by chance."""
        self.kept = Kept(data_path(data.folder), data.size, 1, data.clusters)
        self.samples = readable(self.kept.folder, samples_of(data_path(data.root), data.only))
        self.keys = [sample.key for sample in self.samples[: data.count]]

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

    def digest(self) -> str:
        """A name for these photographs, in their order."""
        return hashlib.blake2b("\n".join(self.keys).encode(), digest_size=8).hexdigest()
