"""Pictures without captions, cut into views: what self-distillation learns from."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.pairs import open_pairs
from train.data.shards import TarPairs, crop_windows
from train.data.stickers import Difficulty, StickerWorld, soften

FINE = 2  # samples along each side of an output pixel


class View(NamedTuple):
    """A window of each picture: as it is, with changed colours, and where it lies."""

    plain: Tensor  # (B, 3, s, s) uint8
    jittered: Tensor  # (B, 3, s, s) float, 0..255
    theta: Tensor  # (B, 2, 3) from view to picture coordinates, both -1..1


class Pictures:
    """Photographs of tars and rendered scenes in one batch; each batch is a function of its seed.

    recipe: `size` in pixels of the squares that pictures are held in; `photographs`, a folder of tars, or null;
    `stickers`: the share of rendered scenes in a batch.
    """

    def __init__(self, recipe: dict, seed: int, device):
        self.seed, self.device, self.size = seed, torch.device(device), recipe["size"]
        photographs = recipe["photographs"]
        self.share = recipe["stickers"] if photographs else 1.0
        self.photographs: TarPairs | None = None
        if self.share < 1:
            tars = {"name": "tars", "root": photographs, "cache_size": self.size}
            self.photographs = open_pairs(tars, seed, device, [])
        self.world = StickerWorld(self.size, device) if self.share else None

    def batch(self, seed: int, n: int, difficulty: dict) -> tuple[Tensor, Tensor]:
        """Pictures squashed to squares (n, 3, S, S) uint8, and their true width / height (n,)."""
        scenes = round(n * self.share)
        parts, aspects = [], [torch.ones(scenes)]
        if scenes:
            plan_seed = self.seed * 1_000_000_000 + seed
            parts.append(self.world.batch(plan_seed, scenes, Difficulty(**difficulty))[0])
        if n > scenes:
            pixels, widths = self.photographs.whole(seed, n - scenes)
            parts.append(pixels)
            aspects.append(widths)
        return torch.cat(parts), torch.cat(aspects)

    def views(self, seed: int, n: int, stage: dict, colour: float) -> list[View]:
        """The large views, then the small ones, of n pictures; `colour` is how strongly colours are changed."""
        pixels, aspects = self.batch(seed, n, stage["difficulty"])
        generator = torch.Generator().manual_seed(self.seed * 1_000_000_007 + seed)
        kinds = [stage[kind] for kind in ("large", "small") for _ in range(stage[kind]["count"])]
        return [self.view(pixels.float(), aspects, kind, colour, generator) for kind in kinds]

    def view(self, pixels: Tensor, aspects: Tensor, kind: dict, colour: float, generator) -> View:
        """One random window of each picture."""
        draws = torch.rand(4, len(pixels), generator=generator)
        theta = crop_windows(aspects, draws, tuple(kind["area"])).to(self.device)
        side = kind["size"]
        grid = F.affine_grid(theta, [len(pixels), 3, side * FINE, side * FINE], align_corners=False)
        window = F.avg_pool2d(F.grid_sample(pixels, grid, padding_mode="border", align_corners=False), FINE)
        return View(window.round().to(torch.uint8), jitter(window, colour, generator), theta)


def jitter(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Random light, contrast, saturation and tint; a fifth grey, a fifth blurred. (B, 3, s, s), 0..255."""
    n = len(pixels)

    def draw(spread, *shape):
        return (1 + strength * spread * (2 * torch.rand(n, *shape, 1, 1, generator=generator) - 1)).to(pixels.device)

    def some(share):
        return (torch.rand(n, 1, 1, 1, generator=generator) < share).to(pixels.device)

    pixels = pixels * draw(0.4, 1) * draw(0.15, 3)
    pixels = torch.lerp(pixels.mean((1, 2, 3), keepdim=True), pixels, draw(0.4, 1))
    grey = pixels.mean(1, keepdim=True)
    pixels = torch.lerp(grey, pixels, torch.where(some(0.2 * strength), 0, draw(0.5, 1)))
    return torch.where(some(0.2), soften(pixels), pixels).clamp(0, 255)
