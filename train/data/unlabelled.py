"""Pictures without captions and without labels, held in memory: what self-training learns from."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sseg import images
from sseg.errors import SSegError
from sseg.paths import visible
from train.data.kept_images import KeptImages
from train.data.stickers.world import StickerWorld
from train.data.tars import TarPairs, data_path

RENDERED_AT_ONCE = 50
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


class Unlabelled(NamedTuple):
    """pixels (M, 3, S, S) uint8, squashed to squares; aspects (M,) width / height; keys: a name each."""

    pixels: Tensor
    aspects: Tensor
    keys: list[str]

    def image(self, index: int) -> Tensor:
        """Picture `index` in its true shape, its longer side S: uint8 (H, W, 3)."""
        side, aspect = self.pixels.shape[-1], float(self.aspects[index])
        height, width = max(1, round(side * min(1, 1 / aspect))), max(1, round(side * min(1, aspect)))
        planes = self.pixels[index, None]
        if (height, width) != (side, side):
            planes = F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
        return planes[0].permute(1, 2, 0)

    def digest(self) -> str:
        """A name for these pictures, in their order."""
        thumbs = self.pixels[:, :, ::16, ::16].contiguous().numpy()
        return hashlib.blake2b(thumbs.tobytes(), digest_size=8).hexdigest()


def open_unlabelled(data, seed: int, things: list[str]) -> Unlabelled | KeptImages:
    """The pictures that a recipe's `data` names, one of `Scenes`, `TarImages`, `FolderImages` and `MapImages` of
    `train.recipe`; `things`: of the target, which scenes show."""
    if data.name == "maps":
        return KeptImages(data)
    if data.name == "stickers":
        return _rendered(data, seed, things)
    if data.name == "tars":
        pairs = TarPairs(data.root, seed, "cpu", data.size, only=data.only)
        return Unlabelled(pairs.pixels[pairs.rows], pairs.aspects[pairs.rows], [f"{row:07d}" for row in pairs.rows])
    return _folder(data_path(data.root), data.size)


def _rendered(data, seed: int, things: list[str]) -> Unlabelled:
    world, parts = StickerWorld(data.size, split="train", only=things), []
    for start in range(0, data.count, RENDERED_AT_ONCE):
        n = min(RENDERED_AT_ONCE, data.count - start)
        parts.append(world.batch(seed * 1_000_000_000 + 500_000_000 + start, n, data.difficulty)[0])
    return Unlabelled(torch.cat(parts), torch.ones(data.count), [f"{i:07d}" for i in range(data.count)])


def _folder(root: Path, size: int) -> Unlabelled:
    files = [path for path in visible(root, "**/*") if path.suffix.lower() in ENDINGS]
    pixels, aspects, keys = [], [], []
    for path in files:
        try:
            image = images.read(path)
        except SSegError:
            continue  # what cannot be read teaches nothing
        planes = torch.from_numpy(image).permute(2, 0, 1)[None]
        pixels.append(F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True))
        aspects.append(image.shape[1] / image.shape[0])
        keys.append(str(path.relative_to(root)))
    if not pixels:
        raise SSegError(f"No picture in {root} can be read: put jpg, png or webp files there, or change data.root.")
    return Unlabelled(torch.cat(pixels), torch.tensor(aspects), keys)
