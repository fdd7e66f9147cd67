"""The sticker world: captioned scenes of named glyphs on named materials, rendered in batches from a seed.

`StickerWorld.batch` gives pixels and captions, which is all that training gets: it plans scenes
(`scenes`) and renders the plan with batched torch operations, on the CPU and the GPU alike. Where each
thing shows is known to `StickerWorld.layers`, which the benchmark calls and training never does.
"""

import functools

import torch
import torch.nn.functional as F

from sseg.errors import SSegError
from train.data.stickers import glyphs, materials
from train.data.stickers.scenes import (
    DIFFICULTIES,
    EASY,
    HARD,
    PAIRS,
    SPLITS,
    TEST,
    Difficulty,
    Planner,
    ScenePlan,
    cover,
    mix,
    placement,
)

__all__ = ["DIFFICULTIES", "EASY", "HARD", "PAIRS", "TEST", "Difficulty", "ScenePlan", "StickerWorld", "mix"]

CHUNK_PIXELS = 2**19  # of the scenes rendered at once on a CPU, so that what is worked on stays in the cache
ATLAS_LEVELS = 4  # 128, 64, 32, 16 px


class StickerWorld:
    """Renders captioned scenes of `size` x `size` pixels on `device`.

    split: "train", "test" or "heldout" (`scenes.Planner`); the latter two have textures of their own.
    atlas: what `glyphs.atlas` returns, if it is at hand already; it must fit the vocabulary.
    only: names of the things that scenes may show; None: all.
    """

    def __init__(self, size: int, device="cpu", split: str = "train", atlas=None, vocabulary=None, only=None):
        vocabulary = vocabulary or glyphs.load_vocabulary()
        if split not in SPLITS:
            raise SSegError(f'There is no split "{split}" of the sticker world; take one of {", ".join(SPLITS)}.')
        self.size, self.device, self.vocabulary = size, torch.device(device), vocabulary
        self.levels = font_levels(vocabulary, device) if atlas is None else pyramid(torch.as_tensor(atlas), device)
        self.planner = Planner(split, vocabulary, self.levels[-1][:, 3:].cpu(), only=only)
        self.bank = texture_bank(SPLITS[split], tuple(m.name for m in vocabulary.materials), str(device))
        self.noise = torch.randn(4 * 3 * size * size, generator=torch.Generator().manual_seed(0)).to(self.device)

    def batch(self, seed: int, n: int, difficulty: Difficulty) -> tuple[torch.Tensor, list[str]]:
        """n scenes: pixels (n, 3, size, size) uint8 on the device, and their captions."""
        plan = self.plan(seed, n, difficulty)
        return self.render(plan), plan.captions

    def plan(self, seed: int, n: int, difficulty: Difficulty) -> ScenePlan:
        """Decide n scenes; the same for the same split, seed, n and difficulty."""
        return self.planner.plan(seed, n, difficulty)

    @torch.no_grad()
    def render(self, plan: ScenePlan) -> torch.Tensor:
        """Pixels of a plan: uint8 (n, 3, size, size) on the device."""
        chunk = max(1, CHUNK_PIXELS // self.size**2) if self.device.type == "cpu" else len(plan)
        parts = [plan.part(i, i + chunk).to(self.device) for i in range(0, len(plan), chunk)]
        return torch.cat([self._light(part, self._paint(part)) for part in parts])

    @torch.no_grad()
    def layers(self, plan: ScenePlan) -> tuple[torch.Tensor, torch.Tensor]:
        """Opacity of each thing by itself, (n, K, size, size), and of each material before things, (n, 3, ...)."""
        plan = plan.to(self.device)
        alpha = torch.zeros(*plan.thing.shape, self.size, self.size, device=self.device)
        for k in range(plan.thing.shape[1]):
            for rows, sticker in self._stickers(plan, k):
                alpha[rows, k] = sticker[:, 3] / 255
        first, second = cover(plan, self.size).unbind(1)
        return alpha, torch.stack([(1 - first) * (1 - second), first * (1 - second), second], 1)

    def _paint(self, plan: ScenePlan) -> torch.Tensor:
        """Materials and things: float (n, 3, size, size), 0..255, before light and noise."""
        canvas = self._ground(plan, 0)
        if (plan.material[:, 1] >= 0).any():
            covers = cover(plan, self.size)
            for i in (1, 2):
                rows = torch.nonzero(plan.material[:, i] >= 0)[:, 0]
                if len(rows):
                    part = canvas[rows]
                    canvas[rows] = part.lerp(self._ground(plan, i, rows), covers[rows, i - 1, None])
        for k in range(plan.thing.shape[1]):
            self._drop_shadow(plan, k, canvas)
            for rows, sticker in self._stickers(plan, k):
                colour, alpha = sticker[:, :3], sticker[:, 3:] / 255
                colour.mul_(plan.gain[rows, k, :, None, None]).addcmul_(alpha, plan.lift[rows, k, None, None, None])
                canvas[rows] = canvas[rows].mul_(1 - alpha).add_(colour)
        return canvas

    def _ground(self, plan: ScenePlan, i: int, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Material i of the given scenes over the whole frame: float (m, 3, size, size)."""
        rows = torch.arange(len(plan), device=self.device) if rows is None else rows
        texture, crop = plan.texture[rows, i], plan.crop[rows, i]
        line = (torch.arange(self.size, device=self.device) + 0.5) / self.size
        u = 2 * (crop[:, :1] + crop[:, 2:3] * line) - 1  # (m, size)
        v = 2 * (crop[:, 1:2] + crop[:, 3:] * line) - 1
        grid = torch.stack([u[:, None].expand(-1, self.size, -1), v[..., None].expand(-1, -1, self.size)], 3)
        ratio = self.bank.size * crop[:, 3] / self.size  # texels a pixel at full size
        level = ratio.log2().floor().clamp(0, len(self.bank.levels) - 1)
        ground = torch.empty(len(rows), 3, self.size, self.size, device=self.device)
        for number, images in enumerate(self.bank.levels):
            some = torch.nonzero(level == number)[:, 0]
            if len(some):
                ground[some] = F.grid_sample(
                    images[texture[some]].float(), grid[some], padding_mode="border", align_corners=False
                )
        return ground * plan.material_gain[rows, i, :, None, None]

    def _stickers(self, plan: ScenePlan, k: int):
        """Thing k of each scene in its place: yields (rows, RGBA (m, 4, size, size) premultiplied, 0..255)."""
        theta = placement(plan.centre[:, k], plan.side[:, k], plan.angle[:, k], plan.flip[:, k])
        full = self.levels[0].shape[-1]
        level = (full / (plan.side[:, k] * self.size)).log2().floor().clamp(0, len(self.levels) - 1)
        for number, images in enumerate(self.levels):
            rows = torch.nonzero((plan.thing[:, k] >= 0) & (level == number))[:, 0]
            if len(rows):
                grid = F.affine_grid(theta[rows], (len(rows), 4, self.size, self.size), align_corners=False)
                yield rows, F.grid_sample(images[plan.thing[rows, k]].float(), grid, align_corners=False)

    def _drop_shadow(self, plan: ScenePlan, k: int, canvas: torch.Tensor) -> None:
        """Darken the canvas beside thing k, where it throws a shadow; the coarsest level makes it soft."""
        rows = torch.nonzero((plan.thing[:, k] >= 0) & (plan.shadow[:, k] > 0))[:, 0]
        if not len(rows):
            return
        side = plan.side[rows, k]
        centre = plan.centre[rows, k] + plan.shadow_shift[rows] * side[:, None]
        theta = placement(centre, side, plan.angle[rows, k], plan.flip[rows, k])
        grid = F.affine_grid(theta, (len(rows), 1, self.size, self.size), align_corners=False)
        dark = F.grid_sample(self.levels[-1][plan.thing[rows, k], 3:].float(), grid, align_corners=False)
        canvas[rows] = canvas[rows] * (1 - dark * (plan.shadow[rows, k] / 255)[:, None, None, None])

    def _light(self, plan: ScenePlan, canvas: torch.Tensor) -> torch.Tensor:
        """Light, blur and noise over painted scenes: uint8 (n, 3, size, size)."""
        line = (torch.arange(self.size, device=self.device) + 0.5) / self.size - 0.5
        slope_x, slope_y, gain, curve = (c[:, None, None, None] for c in plan.light.unbind(1))
        canvas = canvas * (gain * (1 + slope_x * line + slope_y * line[:, None]))
        canvas = canvas * (1 + curve * (1 - canvas / 255))  # a gamma-like curve that keeps black and white
        rows = torch.nonzero(plan.blur)[:, 0]
        if len(rows):
            canvas[rows] = soften(canvas[rows])
        windows = self.noise.unfold(0, canvas[0].numel(), 1)
        noise = windows[plan.noise_at % len(windows)].view_as(canvas)
        canvas = canvas + noise * plan.noise[:, None, None, None]
        return canvas.round_().clamp_(0, 255).to(torch.uint8)


def pyramid(atlas: torch.Tensor, device="cpu") -> list[torch.Tensor]:
    """Mip levels of straight RGBA uint8 (T, 4, s, s): premultiplied uint8 at s, s/2, s/4, s/8."""
    levels = [[] for _ in range(ATLAS_LEVELS)]
    for straight in atlas.split(32):  # in parts, since floats of the whole atlas are large
        colour, alpha = straight[:, :3].float(), straight[:, 3:].float()
        full = torch.cat([colour * alpha / 255, alpha], 1)
        for i, level in enumerate(levels):
            level.append(F.avg_pool2d(full, 2**i).round().to(torch.uint8))
    return [torch.cat(level).to(device) for level in levels]


@functools.lru_cache(maxsize=2)  # worlds of several sizes share what they show
def font_levels(vocabulary: glyphs.Vocabulary, device: str) -> list[torch.Tensor]:
    """The pyramid of the emoji font's atlas."""
    return pyramid(glyphs.atlas(vocabulary=vocabulary), device)


@functools.lru_cache(maxsize=4)
def texture_bank(seed: int, names: tuple[str, ...], device: str) -> materials.TextureBank:
    return materials.TextureBank(seed, device=device, names=names)


def soften(image: torch.Tensor) -> torch.Tensor:
    """Blur (n, 3, s, s) by the binomial filter 1-2-1 in both directions."""
    kernel = torch.tensor([0.25, 0.5, 0.25], device=image.device)
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(
        F.conv2d(padded, kernel.view(1, 1, 1, 3).expand(3, 1, 1, 3), groups=3),
        kernel.view(1, 1, 3, 1).expand(3, 1, 3, 1),
        groups=3,
    )
