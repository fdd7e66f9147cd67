"""Pictures without captions, cut into views: what self-distillation learns from."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.stickers.world import Difficulty, StickerWorld, soften
from train.data.tars import TarPairs, crop_windows
from train.recipe.features import DistillImages, DistillStage, Windows

FINE = 2  # samples along each side of an output pixel


class View(NamedTuple):
    """A window of each picture with changed colours, where it lies, and what it is made of."""

    pixels: Tensor  # (B, 3, s, s) float, 0..255
    theta: Tensor  # (B, 2, 3) from view to picture coordinates, both -1..1
    pieces: Tensor  # (B, s / 8, s / 8) number of the piece that fills most of each patch, -1 where none does


class Views:
    """Photographs of tars and rendered scenes in one batch; each batch is a function of its seed.

    data: `size` in pixels of the squares that pictures are held in; `photographs`, a folder of tars, or None;
    `stickers`: the share of rendered scenes in a batch.
    """

    def __init__(self, data: DistillImages, seed: int, device):
        self.seed, self.device, self.size = seed, torch.device(device), data.size
        self.share = data.stickers if data.photographs else 1.0
        self.photographs = TarPairs(data.photographs, seed, device, self.size) if self.share < 1 else None
        self.world = StickerWorld(self.size, device) if self.share else None

    def batch(self, seed: int, n: int, difficulty: Difficulty) -> tuple[Tensor, Tensor]:
        """Pictures squashed to squares (n, 3, S, S) uint8, and their true width / height (n,)."""
        scenes = round(n * self.share)
        parts, aspects = [], [torch.ones(scenes)]
        if scenes:
            plan_seed = self.seed * 1_000_000_000 + seed
            parts.append(self.world.batch(plan_seed, scenes, difficulty)[0])
        if n > scenes:
            pixels, widths = self.photographs.whole(seed, n - scenes)
            parts.append(pixels)
            aspects.append(widths)
        return torch.cat(parts), torch.cat(aspects)

    def views(self, seed: int, n: int, stage: DistillStage, colour: float) -> list[View]:
        """The large views, then the small ones, of n pictures; `colour` is how strongly colours are changed."""
        pixels, aspects = self.batch(seed, n, stage.difficulty)
        generator = torch.Generator().manual_seed(self.seed * 1_000_000_007 + seed)
        pixels, pieces = collage(pixels.float(), stage.pieces, generator)
        kinds = [kind for kind in (stage.large, stage.small) for _ in range(kind.count)]
        return [self.view(pixels, pieces, aspects, kind, colour, generator) for kind in kinds]

    def view(self, pixels: Tensor, pieces: Tensor, aspects: Tensor, kind: Windows, colour: float, generator) -> View:
        """One random window of each picture."""
        draws = torch.rand(4, len(pixels), generator=generator)
        theta = crop_windows(aspects, draws, kind.area).to(self.device)
        side = kind.size
        grid = F.affine_grid(theta, [len(pixels), 3, side * FINE, side * FINE], align_corners=False)
        window = F.avg_pool2d(F.grid_sample(pixels, grid, padding_mode="border", align_corners=False), FINE)
        grid = F.affine_grid(theta, [len(pixels), 1, side, side], align_corners=False)
        ids = F.grid_sample(pieces[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
        return View(jitter(window, colour, generator), theta, in_patches(ids.long()))


def collage(pixels: Tensor, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lay up to `most` pieces of other pictures of the batch over each: (n, 3, S, S), and piece numbers (n, S, S).

    Number 0 is the picture below. A piece has a smooth, lobed outline and a window of another picture in it. Where a
    piece ends is known without anybody's labels; that patches beside one another do not belong together is what plain
    pictures do not show.
    """
    n, _, side, _ = pixels.shape
    ids = torch.zeros(n, side, side, dtype=torch.long, device=pixels.device)
    line = (torch.arange(side, device=pixels.device) + 0.5) / side * 2 - 1
    canvas = pixels
    for number in range(1, most + 1):
        draws = torch.rand(n, 24, generator=generator).to(pixels.device)
        inside = blob(draws, line) & (draws[:, 23, None, None] < 0.75)
        theta = torch.zeros(n, 2, 3, device=pixels.device)
        scale = 0.4 + 0.6 * draws[:, 20]
        theta[:, 0, 0], theta[:, 1, 1] = torch.where(draws[:, 19] < 0.5, -scale, scale), scale
        theta[:, :, 2] = (1 - scale[:, None]) * (2 * draws[:, 21:23] - 1)
        other = pixels.roll(int(torch.randint(1, max(n, 2), (), generator=generator)), 0)
        filled = F.grid_sample(
            other,
            F.affine_grid(theta, list(pixels.shape), align_corners=False),
            padding_mode="border",
            align_corners=False,
        )
        canvas = torch.where(inside[:, None], filled, canvas)
        ids = torch.where(inside, number, ids)
    return canvas, ids


def blob(draws: Tensor, line: Tensor) -> Tensor:
    """Random lobed shapes: (n, >= 17) uniform draws and pixel centres (S,) in -1..1 -> (n, S, S) bool."""
    d = draws[:, :, None, None]
    x, y = line[None, None] - (2 * d[:, 0] - 1), line[None, :, None] - (2 * d[:, 1] - 1)
    turn, long = 3.1416 * d[:, 2], 0.6 + 0.8 * d[:, 3]
    x, y = (turn.cos() * x + turn.sin() * y) * long, (turn.cos() * y - turn.sin() * x) / long
    angle, radius = torch.atan2(y, x), (x.square() + y.square()).sqrt()
    reach = 0.2 + 0.5 * d[:, 4].square()
    lobes = sum(
        (d[:, 5 + i] - 0.5) * 0.5 / (1 + i / 2) * torch.cos((i + 2) * angle + 6.2832 * d[:, 11 + i]) for i in range(6)
    )
    return radius < reach * (1 + lobes)


def in_patches(ids: Tensor, patch: int = 8, share: float = 0.7) -> Tensor:
    """Numbers of pixels (n, 1, s, s) -> (n, s / patch, s / patch): that of at least `share` of a patch, or -1."""
    member = F.one_hot(ids[:, 0], int(ids.max()) + 1).permute(0, 3, 1, 2).float()
    most, number = F.avg_pool2d(member, patch).max(1)
    return torch.where(most >= share, number, -1)


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
