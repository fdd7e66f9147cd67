"""What is on the scenes of the sticker world: every random choice, and the geometry that follows from it.

A `ScenePlan` holds n scenes as tensors, drawn on the CPU from a seed, so scenes are the same on every device.
All lengths and positions are fractions of the picture, so one plan renders at any size.
"""

import hashlib
import math
import random
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F

from train.data.stickers import captions as caption_writer
from train.data.stickers import materials
from train.data.stickers.glyphs import Vocabulary

SPLITS = {"train": 1, "test": 2, "heldout": 2}  # split -> seed of its textures
HELD_OUT_SHARE = 0.1  # of all thing-material pairs
ATTEMPTS = 9  # at arranging the things of a scene
SMALL = 32  # side of the sketch in which a plan measures what hides what


@dataclass(frozen=True)
class Difficulty:
    """What scenes look like. Pairs are (least, most)."""

    things: tuple[int, int]
    side: tuple[float, float]  # longer side of a thing, as a share of the picture's side
    materials: tuple[int, int]
    hidden: float = 0.45  # a thing may be covered or out of the frame up to this share of its area


EASY = Difficulty((1, 1), (0.55, 0.95), (1, 1), hidden=0.15)
PAIRS = Difficulty((1, 2), (0.35, 0.7), (1, 2), hidden=0.35)
TEST = Difficulty((1, 4), (0.25, 0.6), (1, 3))
HARD = Difficulty((1, 5), (0.2, 0.6), (1, 3))
DIFFICULTIES = {"easy": EASY, "pairs": PAIRS, "test": TEST, "hard": HARD}


def mix(a: Difficulty, b: Difficulty, t: float) -> Difficulty:
    """The difficulty a share `t` (0..1) of the way from `a` to `b`, for a curriculum."""

    def between(x, y):
        return x * (1 - t) + y * t

    return Difficulty(
        things=tuple(round(between(x, y)) for x, y in zip(a.things, b.things, strict=True)),
        side=tuple(between(x, y) for x, y in zip(a.side, b.side, strict=True)),
        materials=tuple(round(between(x, y)) for x, y in zip(a.materials, b.materials, strict=True)),
        hidden=between(a.hidden, b.hidden),
    )


@dataclass
class ScenePlan:
    """Everything that decides n scenes of up to K things, as CPU tensors. Later things lie on earlier ones."""

    thing: torch.Tensor  # (n, K) int64 index of the vocabulary's things, -1 for none
    centre: torch.Tensor  # (n, K, 2) x, y
    side: torch.Tensor  # (n, K) longer side
    angle: torch.Tensor  # (n, K) radians
    flip: torch.Tensor  # (n, K) 1 or -1
    gain: torch.Tensor  # (n, K, 3) colour multiplier
    lift: torch.Tensor  # (n, K) added brightness, of 255
    shadow: torch.Tensor  # (n, K) darkness of the drop shadow, 0 for none
    shadow_shift: torch.Tensor  # (n, 2) where shadows fall, in thing sides
    material: torch.Tensor  # (n, 3) int64 index of the vocabulary's materials, -1 for none
    texture: torch.Tensor  # (n, 3) int64 row of the texture bank
    crop: torch.Tensor  # (n, 3, 4) x0, y0, width (negative: mirrored), height of the texture's part that is shown
    material_gain: torch.Tensor  # (n, 3, 3) colour multiplier
    normal: torch.Tensor  # (n, 2, 2) direction from the earlier materials to material i + 1
    blob: torch.Tensor  # (n, 2, 3) centre x, y and 1 where border i is a blob around it, not a line
    wobble: torch.Tensor  # (n, 2, 24, 24) what is added to the distance from border i
    border: torch.Tensor  # (n, 2) material i + 1 lies where its distance exceeds this
    light: torch.Tensor  # (n, 4) slope of the light in x and y, gain, curve
    noise: torch.Tensor  # (n,) deviation, of 255
    noise_at: torch.Tensor  # (n,) int64 place in the noise
    blur: torch.Tensor  # (n,) 0 or 1
    captions: list[str]

    def __len__(self) -> int:
        return len(self.thing)

    def _each(self, change) -> "ScenePlan":
        tensors = {f.name: change(getattr(self, f.name)) for f in fields(self) if f.name != "captions"}
        return replace(self, **tensors)

    def part(self, start: int, stop: int) -> "ScenePlan":
        return replace(self._each(lambda t: t[start:stop]), captions=self.captions[start:stop])

    def to(self, device) -> "ScenePlan":
        return self._each(lambda t: t.to(device))


def held_out_pairs(things: list[str], names: list[str]) -> torch.Tensor:
    """Which pairs never share a picture in training: bool (T, M), decided by the names alone.

    For each thing the tenth of the materials (at least one) whose hash with it is smallest.
    """
    count = max(1, round(HELD_OUT_SHARE * len(names)))
    table = torch.zeros(len(things), len(names), dtype=torch.bool)
    for row, thing in zip(table, things, strict=True):
        order = sorted(range(len(names)), key=lambda m: hashlib.blake2b(f"{thing}|{names[m]}".encode()).digest())
        row[order[:count]] = True
    return table


class Dice:
    """Random tensors of one batch of scenes."""

    def __init__(self, split: str, seed: int):
        digest = hashlib.blake2b(f"stickers/{split}/{seed}".encode(), digest_size=7).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        self.words = random.Random(digest)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integers(self, least: int, most: int, *shape: int) -> torch.Tensor:
        """Both ends included."""
        return torch.randint(least, most + 1, shape, generator=self.generator)

    def chance(self, p: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator) < p


class Planner:
    """Decides scenes of one split of the sticker world.

    split: "train" and "test" never show a held-out pair (`held_out_pairs`); in "heldout" every thing stands in a
        picture with a material that it never shared a picture with in the others. The splits' seeds are disjoint.
    alpha: (T, 1, s, s) uint8 opacity of all things, s about 16.
    only: names of the things that scenes may show; None: all.
    """

    def __init__(self, split: str, vocabulary: Vocabulary, alpha: torch.Tensor, variants: int = materials.VARIANTS,
                 only: list[str] | None = None):  # fmt: skip
        self.allowed = torch.tensor([only is None or thing.name in only for thing in vocabulary.things])
        self.split, self.vocabulary, self.variants = split, vocabulary, variants
        names = [m.name for m in vocabulary.materials]
        self.sketches = alpha.float() / 255
        self.held_out = held_out_pairs([t.name for t in vocabulary.things], names)
        self.above = torch.tensor([name in materials.ABOVE for name in names])

    def plan(self, seed: int, n: int, difficulty: Difficulty) -> ScenePlan:
        """Decide n scenes; the same for the same split, seed, n and difficulty."""
        dice = Dice(self.split, seed)
        material, thing = self._cast(dice, n, difficulty)
        k = thing.shape[1]
        side, order = dice.uniform(n, k, low=difficulty.side[0], high=difficulty.side[1]).sort(1, descending=True)
        thing = thing.gather(1, order)  # smaller things lie in front
        askew = torch.where(
            dice.chance(0.15, n, k), dice.uniform(n, k, high=2 * math.pi), (0.25 * dice.normal(n, k)).clamp(-0.6, 0.6)
        )
        horizon, borders = self._borders(dice, material)
        in_order = self.above.logical_not()[material].long() + (material < 0) * 2
        sorted_material = material.gather(1, in_order.argsort(dim=1, stable=True))
        material = torch.where((horizon & dice.chance(0.8, n))[:, None], sorted_material, material)
        width = dice.uniform(n, 3, low=0.55, high=1.0)
        x0, y0 = dice.uniform(n, 3) * (1 - width), dice.uniform(n, 3) * (1 - width)
        mirrored = dice.chance(0.5, n, 3)
        crop = torch.stack([x0 + width * mirrored, y0, torch.where(mirrored, -width, width), width], 2)
        contrast = dice.uniform(n, k, low=0.8, high=1.15)
        bright = dice.uniform(n, k, 1, low=0.8, high=1.2) * dice.uniform(n, k, 3, low=0.92, high=1.08)
        earthly = dice.uniform(n, 3, 1, low=0.8, high=1.15) * dice.uniform(n, 3, 3, low=0.93, high=1.07)
        light = torch.cat(
            [
                0.25 * dice.normal(n, 2).clamp(-2, 2),
                dice.uniform(n, 1, low=0.85, high=1.12),
                dice.uniform(n, 1, low=-0.3, high=0.3),
            ],
            1,
        )
        plan = ScenePlan(
            thing=thing, centre=self._anywhere(dice, side), side=side, angle=askew,
            flip=1 - 2 * dice.chance(0.5, n, k).float(),
            gain=bright * contrast[..., None], lift=127 * (1 - contrast),
            shadow=dice.uniform(n, k, low=0.15, high=0.5) * dice.chance(0.5, n, 1),
            shadow_shift=torch.stack([dice.uniform(n, low=-0.08, high=0.08), dice.uniform(n, low=0.03, high=0.1)], 1),
            material=material, texture=material.clamp_min(0) * self.variants
            + dice.integers(0, self.variants - 1, n, 3),
            crop=crop, material_gain=earthly, **borders, light=light,
            noise=dice.uniform(n, high=10.0) * dice.chance(0.7, n),
            noise_at=dice.integers(0, 2**31, n), blur=dice.chance(0.15, n).float(), captions=[],
        )  # fmt: skip
        visible = self._arrange(dice, plan, difficulty.hidden)
        plan.captions = self._write(dice.words, plan, visible)
        return plan

    def _cast(self, dice: Dice, n: int, difficulty: Difficulty) -> tuple[torch.Tensor, torch.Tensor]:
        """Materials (n, 3) and things (n, K) that may meet in this split, -1 for none."""
        total, names = self.held_out.shape
        (least, most), regions = difficulty.things, min(3, names)
        keys = dice.uniform(n, names)
        if self.split == "heldout":  # the first thing's partner comes along for sure
            partners = self.held_out[dice.integers(0, total - 1, n)].float()
            keys.scatter_(1, torch.multinomial(partners, 1, generator=dice.generator), -1.0)
        material = F.pad(keys.argsort(1)[:, :regions], (0, 3 - regions), value=-1)
        count = dice.integers(*difficulty.materials, n)
        absent = torch.arange(3)[None] >= count[:, None].clamp_max(regions)
        material = material.masked_fill(absent, -1)
        shuffle = (dice.uniform(n, 3) + 2.0 * absent).argsort(1)
        material = material.gather(1, shuffle)
        odd = self.held_out.T[material.clamp_min(0)] & (material >= 0)[..., None]  # (n, 3, T)
        odd = odd.any(1)
        fitting = (odd if self.split == "heldout" else ~odd) & self.allowed
        thing = torch.multinomial(fitting.float(), most, replacement=True, generator=dice.generator)
        if most > 1:  # sometimes two of a kind
            thing[:, 1] = torch.where(dice.chance(0.15, n), thing[:, 0], thing[:, 1])
        return material, thing.masked_fill(torch.arange(most)[None] >= dice.integers(least, most, n)[:, None], -1)

    def _borders(self, dice: Dice, material: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Which scenes have horizon-like borders, (n,), and the plan's fields that shape borders."""
        n = len(material)
        horizon = dice.chance(0.6, n)
        upright = math.pi / 2 + 0.12 * dice.normal(n, 2)
        angle = torch.where(horizon[:, None], upright, dice.uniform(n, 2, high=2 * math.pi))
        blob = dice.chance(0.4, n, 2) & ~horizon[:, None]
        coarse = F.interpolate(dice.normal(n, 2, 5, 5), (24, 24), mode="bicubic", align_corners=True)
        fine = F.interpolate(dice.normal(n, 2, 12, 12), (24, 24), mode="bicubic", align_corners=True)
        wobble = (coarse + 0.3 * fine) * dice.uniform(n, 2, 1, 1, low=0.01, high=0.07)
        shape = {
            "normal": torch.stack([angle.cos(), angle.sin()], 2),
            "blob": torch.cat([dice.uniform(n, 2, 2, low=0.2, high=0.8), blob.float()[..., None]], 2),
            "wobble": wobble,
        }
        share = torch.stack([dice.uniform(n, low=0.3, high=0.7), dice.uniform(n, low=0.2, high=0.4)], 1)
        two, three = material[:, 1] >= 0, material[:, 2] >= 0
        nested = three & (horizon | dice.chance(0.4, n))
        share = torch.where(nested[:, None], nest(share), share)
        shape = {name: torch.where(spread(nested, t[:, :1]), t[:, :1], t) for name, t in shape.items()}
        border = levels(shape, share)
        # Where three materials that cross leave one of them next to nothing, lay them in bands instead.
        first, second = (distance(shape, SMALL) > border[..., None, None]).unbind(1)
        rest = torch.stack([~first & ~second, first & ~second], 1).float().mean((2, 3))
        cramped = three & ~nested & (rest.amin(1) < 0.1)
        shape = {name: torch.where(spread(cramped, t[:, :1]), t[:, :1], t) for name, t in shape.items()}
        border = torch.where(cramped[:, None], levels(shape, nest(share)), border)
        border = torch.stack([border[:, 0].masked_fill(~two, 9.0), border[:, 1].masked_fill(~three, 9.0)], 1)
        return horizon, {**shape, "border": border}

    def _anywhere(self, dice: Dice, side: torch.Tensor) -> torch.Tensor:
        """Centres (n, K, 2) for things of these sides (n, K): they may stick out a little."""
        margin = (0.42 * side).clamp_max(0.5)[..., None]
        return margin + dice.uniform(*side.shape, 2) * (1 - 2 * margin)

    def _arrange(self, dice: Dice, plan: ScenePlan, allowed: float) -> torch.Tensor:
        """Move things until none is hidden more than `allowed`; the few that never fit leave the scene.

        Changes `plan.centre`, `plan.angle` and `plan.thing`; returns what shows of each thing, (n, K, SMALL, SMALL).
        """
        area = self.sketches.mean((1, 2, 3))[plan.thing] * plan.side**2
        visible = torch.zeros(*plan.thing.shape, SMALL, SMALL)
        rows, bad = torch.arange(len(plan)), None  # scenes that are not settled
        for attempt in range(ATTEMPTS + 1):
            visible[rows] = self._visible(plan, rows)
            bad = (1 - visible[rows].mean((2, 3)) / area[rows] > allowed - 0.02) & (plan.thing[rows] >= 0)
            rows, bad = rows[bad.any(1)], bad[bad.any(1)]
            if not len(rows) or attempt == ATTEMPTS:
                break
            moved = self._anywhere(dice, plan.side[rows])
            plan.centre[rows] = torch.where(bad[..., None], moved, plan.centre[rows])
            if attempt >= ATTEMPTS // 2:  # big ones may only fit upright
                plan.angle[rows] = plan.angle[rows].masked_fill(bad, 0.0)
        if len(rows):
            before, kept = plan.thing[rows], plan.thing[rows].masked_fill(bad, -1)
            empty = torch.nonzero((kept < 0).all(1))[:, 0]  # then one thing stays, upright in the middle
            one = (before[empty] >= 0).float().argmax(1)
            kept[empty, one] = before[empty, one]
            plan.thing[rows] = kept
            plan.centre[rows[empty], one] = 0.5
            plan.angle[rows[empty], one] = 0.0
            visible[rows] = self._visible(plan, rows)
        return visible

    def _visible(self, plan: ScenePlan, rows: torch.Tensor) -> torch.Tensor:
        """What shows of each thing of these scenes, sketched: (m, K, SMALL, SMALL)."""
        m, k = len(rows), plan.thing.shape[1]
        theta = placement(plan.centre[rows], plan.side[rows], plan.angle[rows], plan.flip[rows]).flatten(0, 1)
        grid = F.affine_grid(theta, (m * k, 1, SMALL, SMALL), align_corners=False)
        images = self.sketches[plan.thing[rows].flatten()]
        alpha = F.grid_sample(images, grid, align_corners=False).view(m, k, SMALL, SMALL)
        alpha = alpha * (plan.thing[rows] >= 0)[..., None, None]
        free = torch.ones(m, SMALL, SMALL)
        for i in reversed(range(k)):
            alpha[:, i], free = alpha[:, i] * free, free * (1 - alpha[:, i])
        return alpha

    def _write(self, words: random.Random, plan: ScenePlan, visible: torch.Tensor) -> list[str]:
        """Captions from what a plan shows."""
        first, second = cover(plan, SMALL).unbind(1)
        ground = (1 - visible.sum(1)) * torch.stack([(1 - first) * (1 - second), first * (1 - second), second])
        ground_share = ground.mean((2, 3)).T.tolist()
        share, centre = visible.mean((2, 3)).tolist(), plan.centre.tolist()
        captions = []
        for i, (things, mats) in enumerate(zip(plan.thing.tolist(), plan.material.tolist(), strict=True)):
            shown = []
            for k, t in enumerate(things):
                if t >= 0:
                    entry = self.vocabulary.things[t]
                    shown.append(caption_writer.SceneThing(entry.name, entry.synonyms, share[i][k], *centre[i][k]))
            lying = []
            for r, m in enumerate(mats):
                if m >= 0:
                    entry = self.vocabulary.materials[m]
                    lying.append(caption_writer.SceneMaterial(entry.name, entry.synonyms, ground_share[i][r]))
            captions.append(caption_writer.write_caption(words, shown, lying, self.vocabulary))
        return captions


def placement(centre, side, angle, flip) -> torch.Tensor:
    """Frame coordinates (-1..1) to a thing's own cell: (..., 2, 3), for `F.affine_grid`."""
    cos, sin = angle.cos() / side, angle.sin() / side
    a = torch.stack([torch.stack([cos * flip, sin * flip], -1), torch.stack([-sin, cos], -1)], -2)  # (..., 2, 2)
    shift = -(a @ (2 * centre - 1)[..., None])
    return torch.cat([a, shift], -1)


def distance(shape: dict[str, torch.Tensor], size: int) -> torch.Tensor:
    """Signed distance of each pixel along border i's normal, or to its blob's middle: (n, 2, size, size)."""
    normal, blob, wobble = shape["normal"], shape["blob"], shape["wobble"]
    line = (torch.arange(size, device=normal.device) + 0.5) / size
    straight = (line - 0.5) * normal[..., :1, None] + (line - 0.5)[:, None] * normal[..., 1:, None]
    dx, dy = line - blob[..., :1, None], line[:, None] - blob[..., 1:2, None]
    away = -(dx * dx + dy * dy).sqrt()
    return torch.where(blob[..., 2:, None] > 0, away, straight) + F.interpolate(
        wobble, (size, size), mode="bilinear", align_corners=True
    )


def cover(plan: ScenePlan, size: int) -> torch.Tensor:
    """Opacity of the second and third material over those before them: (n, 2, size, size), borders 1 px soft."""
    away = distance({"normal": plan.normal, "blob": plan.blob, "wobble": plan.wobble}, size)
    return ((away - plan.border[..., None, None]) * size + 0.5).clamp(0, 1)


def levels(shape: dict[str, torch.Tensor], share: torch.Tensor) -> torch.Tensor:
    """Where to put the borders (n, 2) so that a share (n, 2) of the picture lies beyond each."""
    ordered = distance(shape, SMALL).flatten(2).sort(2).values
    return ordered.gather(2, ((1 - share) * (SMALL * SMALL - 1)).long()[..., None])[..., 0]


def nest(share: torch.Tensor) -> torch.Tensor:
    """Shares (n, 2) for bands: the second within the first, each band at least a sixth of the picture."""
    return torch.stack([0.55 + 0.5 * (share[:, 0] - 0.3), 0.2 + 0.5 * (share[:, 1] - 0.2)], 1)


def spread(flag: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Flags (n,) shaped to broadcast with (n, ...)."""
    return flag.view(-1, *[1] * (like.ndim - 1))
