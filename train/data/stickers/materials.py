"""Materials made by procedures: sky, grass, brick wall ... as texture pictures that scenes crop from.

Every material is a function `(noise, v) -> (v, 3, size, size)` of RGB in 0..1, batched over `v` variants, whose
colours and layout are drawn anew per variant. Colour ranges overlap between materials on purpose (water and sky are
both blue), so that texture and not colour alone tells them apart.
"""

import hashlib

import torch
import torch.nn.functional as F

from train.data.stickers.noise import TAU, Noise, hsv, mix, shade, step


def rgb(*channels: float) -> torch.Tensor:
    return torch.tensor(channels)[None, :, None, None]  # (1, 3, 1, 1)


def turn_some(image: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Transpose the variants whose `turn` (v, 1, 1) is 1."""
    return torch.where(turn[:, None] > 0, image.transpose(2, 3), image)


def sky(noise: Noise, v: int) -> torch.Tensor:
    high = noise.colour(v, (0.55, 0.62), (0.45, 0.8), (0.6, 0.9))
    low = noise.colour(v, (0.52, 0.6), (0.1, 0.3), (0.88, 1.0))
    clouds = noise.fbm(v, 2.5, 6, stretch=2.2) + noise.number(v, -0.6, 0.5)
    image = mix(high, low, noise.y.expand(v, -1, -1) ** 1.3)
    return mix(image, torch.ones(1, 3, 1, 1) * 0.98 - 0.12 * step(0.8, 2.2, clouds)[:, None], step(0.1, 1.1, clouds))


def night_sky(noise: Noise, v: int) -> torch.Tensor:
    high = noise.colour(v, (0.6, 0.72), (0.6, 0.95), (0.05, 0.16))
    low = noise.colour(v, (0.58, 0.75), (0.5, 0.9), (0.14, 0.3))
    image = mix(high, low, noise.y.expand(v, -1, -1) + 0.12 * noise.fbm(v, 2, 4))
    for cells, radius in ((26, 0.16), (11, 0.11)):

        def star(cell, radius=radius):
            glow = 1 - torch.hypot(cell.dx, cell.dy) / (radius * (0.5 + cell.number(0)))
            return glow.clamp_min(0) * (cell.number(1) < 0.6)

        height, owner = noise.scatter(v, cells, cells, star)
        image = image + (height * 1.6 * (0.35 + owner.number(2)))[:, None]
    return image


def sunset(noise: Noise, v: int) -> torch.Tensor:
    top = noise.colour(v, (0.66, 0.82), (0.4, 0.75), (0.25, 0.5))
    middle = noise.colour(v, (0.93, 1.02), (0.55, 0.8), (0.75, 0.95))
    bottom = noise.colour(v, (0.07, 0.13), (0.6, 0.95), (0.95, 1.0))
    y = noise.y.expand(v, -1, -1)
    image = mix(mix(top, middle, step(0.0, 0.55, y)), bottom, step(0.4, 0.95, y))
    clouds = step(0.3, 1.3, noise.fbm(v, 3.5, 5, stretch=7))
    image = mix(image, top * 0.8 + middle * 0.25, 0.75 * clouds * (1 - 0.4 * y))
    away = torch.hypot(noise.x - noise.number(v, 0.3, 0.7), noise.y - noise.number(v, 0.62, 0.8))
    image = mix(image, bottom, 0.6 * step(0.3, 0.05, away))
    return mix(image, rgb(1.0, 0.97, 0.8), step(0.085, 0.075, away) * noise.coin(v))


def blades(noise: Noise, v: int, columns: int, rows: int, layers: int, width: float, tall: float):
    """Upright blades in overlapping layers, nearer ones later: lightness (v, size, size), 0 where none stands."""
    light = torch.zeros(v, noise.size, noise.size)
    for layer in range(layers):

        def blade(cell):
            up = (0.5 - cell.dy / tall).clamp(0, 1)  # 0 at the foot, 1 at the tip
            bend = (cell.number(0) - 0.5) * 3.0 * up**2
            return (width * (1 - up * 0.9) - (cell.dx - bend).abs()) * (cell.dy.abs() < tall / 2)

        height, owner = noise.scatter(v, rows, columns, blade)
        up = (0.5 - owner.dy / tall).clamp(0, 1)
        near = 0.55 + 0.45 * (layer + 1) / layers
        light = torch.where(height > 0, near * (0.35 + 0.5 * up + 0.35 * owner.number(1)), light)
    return light


def grass(noise: Noise, v: int) -> torch.Tensor:
    dark = noise.colour(v, (0.24, 0.36), (0.6, 0.9), (0.16, 0.28))
    fresh = noise.colour(v, (0.2, 0.34), (0.5, 0.85), (0.6, 0.85))
    light = blades(noise, v, 30, 9, 3, 0.5, 1.9)
    return shade(mix(dark, fresh, light), 0.1 * noise.fbm(v, 3, 3))


def sand(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.08, 0.13), (0.25, 0.5), (0.75, 0.95))
    bend = noise.fbm(v, 2.5, 3)
    ripple = torch.sin(TAU * noise.number(v, 7, 12) * noise.y + 1.6 * bend + noise.number(v, -3, 3) * noise.x)
    return shade(base, 0.07 * ripple + 0.05 * bend + 0.055 * noise.grain(v))


def snow(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.55, 0.62), (0.0, 0.05), (0.95, 1.0))
    shadow = noise.colour(v, (0.56, 0.64), (0.16, 0.3), (0.68, 0.85))
    bend = 0.35 * noise.fbm(v, 2, 3)
    drift = (noise.y * noise.number(v, 2.5, 4) + bend + noise.number(v, 0, 1)) % 1  # sharp crests, soft slopes
    image = mix(base, shadow, 0.75 * (1 - drift) ** 2.5 * step(0.0, 0.06, drift) + 0.08 * noise.fbm(v, 10, 3))
    track = noise.x - noise.number(v, 0.3, 0.7) - 0.25 * torch.sin(3 * noise.y + noise.number(v, 0, 6))
    stride = noise.y * 11  # footprints, left and right in turn
    beside = track - 0.028 * (2 * (stride.floor() % 2) - 1)
    print_ = torch.hypot(beside / 0.017, (stride % 1 - 0.5) / 0.33)
    image = mix(image, shadow * 0.75, step(1.15, 0.8, print_))
    return shade(image, 0.015 * noise.grain(v) + 0.3 * (noise.grain(v) > 3.0))


def water(noise: Noise, v: int) -> torch.Tensor:
    deep = noise.colour(v, (0.48, 0.62), (0.6, 0.95), (0.3, 0.6))
    bright = noise.colour(v, (0.48, 0.58), (0.2, 0.45), (0.75, 0.95))
    wave = noise.fbm(v, 8, 2, stretch=5)
    crest = 1 - wave.abs() / 0.6  # ridged noise: thin bright lines where the wave crosses zero
    image = mix(deep, bright, 0.2 * noise.fbm(v, 4, 3, stretch=4) + 0.22 * wave + 0.25)
    return mix(image, bright * 0.5 + 0.5, step(0.3, 1.0, crest) * step(-1.3, 0.5, noise.fbm(v, 4, 2)) * 0.9)


def brick_wall(noise: Noise, v: int) -> torch.Tensor:
    rows, columns = 10, 5
    brick = noise.colour(v, (0.0, 0.07), (0.45, 0.75), (0.5, 0.78))
    mortar = noise.colour(v, (0.05, 0.12), (0.03, 0.15), (0.65, 0.9))
    wobble = 0.05 * noise.fbm(v, 12, 2)
    row = (noise.y * rows + wobble).clamp(0, rows - 0.01)
    column = noise.x * columns + 0.5 * (row.floor() % 2) + wobble * 0.5
    tone = noise.uniform(v, rows * (columns + 1), low=-0.25, high=0.25)
    tone = tone.gather(1, (row.floor() * (columns + 1) + column.floor().clamp(0, columns)).long().flatten(1))
    edge = torch.minimum(torch.minimum(row % 1, 1 - row % 1), 2 * torch.minimum(column % 1, 1 - column % 1))
    image = shade(brick, tone.view_as(edge) + 0.06 * noise.fbm(v, 20, 3) + 0.04 * noise.grain(v))
    return mix(mortar * torch.ones_like(image), image, step(0.06, 0.13, edge))


def wooden_floor(noise: Noise, v: int) -> torch.Tensor:
    rows = 6
    wood = noise.colour(v, (0.055, 0.1), (0.45, 0.7), (0.5, 0.85))
    row = noise.y.expand(v, -1, -1) * rows
    shift = noise.uniform(v, rows).gather(1, row.floor().long().flatten(1)).view_as(row)
    column = noise.x * 2 + shift
    number = (row.floor() * 4 + column.floor()).long()
    tone = noise.uniform(v, rows * 4, low=-0.28, high=0.2).gather(1, number.flatten(1)).view_as(row)
    phase = noise.uniform(v, rows * 4, high=40).gather(1, number.flatten(1)).view_as(row)
    grain = torch.sin(row * 17 + phase + 2.2 * noise.fbm(v, 5, 3, stretch=9)) * 0.09 + 0.07 * noise.fbm(v, 22, 3, 14)
    seam = torch.minimum(torch.minimum(row % 1, 1 - row % 1), 3 * torch.minimum(column % 1, 1 - column % 1))
    return turn_some(shade(wood, tone + grain - 0.6 * step(0.055, 0.015, seam)), noise.coin(v))


def road(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.5, 0.7), (0.0, 0.08), (0.24, 0.42))
    paint = torch.where(noise.coin(v)[:, None] > 0, rgb(0.95, 0.95, 0.93), rgb(0.95, 0.75, 0.15))
    image = shade(base, 0.16 * noise.grain(v) + 0.06 * noise.fbm(v, 4, 4))
    lane = (noise.x * 2 + noise.number(v, 0, 1)) % 1
    dash = (noise.y * 3.5 + noise.number(v, 0, 1)) % 1
    line = step(0.045, 0.035, (lane - 0.5).abs()) * step(0.6, 0.57, dash)
    return turn_some(mix(image, paint, line * (0.9 - 0.1 * noise.fbm(v, 30, 2).abs())), noise.coin(v))


def forest(noise: Noise, v: int) -> torch.Tensor:
    mist = noise.colour(v, (0.3, 0.5), (0.05, 0.2), (0.75, 0.92))
    near = noise.colour(v, (0.3, 0.44), (0.5, 0.8), (0.14, 0.26))
    image = mist.expand(-1, -1, noise.size, noise.size)
    for layer in range(4):
        tall = 0.3 + 0.13 * layer
        base, count = 0.42 + 0.24 * layer, 9 - layer
        cover = torch.zeros(v, noise.size, noise.size)
        for tree in range(-1, count + 1):
            x = (tree + noise.number(v, 0.1, 0.9)) / count
            top = base - tall * noise.number(v, 0.75, 1.25)
            down = (noise.y - top) / tall
            tier = (down * 6 + noise.number(v, 0, 1)) % 1  # boughs: the outline widens and steps back
            half = (0.045 + 0.018 * layer) * down * (0.7 + 0.55 * tier)
            cover = torch.maximum(cover, (half - (noise.x - x).abs()) * 90 * (down > 0))
        cover = torch.maximum(cover, (noise.y - base) * 40)
        tone = mix(mist * 0.6 + near * 0.4, near, torch.full((v, 1, 1), layer / 3))
        leaf = shade(tone, 0.3 * noise.fbm(v, 40, 2) * (0.4 + 0.2 * layer))
        image = mix(image, leaf, cover)
    return image


def stone_wall(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.05, 0.14), (0.05, 0.25), (0.5, 0.72))
    warp = torch.stack([noise.fbm(v, 8, 2), noise.fbm(v, 8, 2)], 1) * 0.07
    first, second, stone = noise.worley(v, 8, 5, 0.75, warp)
    edge = second - first
    light = 0.5 * (stone.number(0) - 0.5) + 0.16 * noise.fbm(v, 14, 4)
    image = shade(base, light + 0.25 * step(0.0, 0.5, edge) - 0.15)
    image = image * (1 + 0.12 * (stone.colour(1, 2, 3) - 0.5))
    return image * (0.22 + 0.78 * step(0.06, 0.18, edge))[:, None]


def carpet(noise: Noise, v: int) -> torch.Tensor:
    ground = noise.colour(v, (0.93, 1.05), (0.65, 0.9), (0.4, 0.65))
    ground = torch.where(noise.coin(v)[:, None] > 0, ground, noise.colour(v, (0.58, 0.7), (0.5, 0.8), (0.3, 0.5)))
    second = noise.colour(v, (0.08, 0.14), (0.35, 0.6), (0.75, 0.92))
    third = noise.colour(v, (0.4, 0.66), (0.4, 0.7), (0.2, 0.4))
    n = noise.number(v, 3, 4.5).round()
    u, w = (noise.x * n) % 1 - 0.5, (noise.y * n) % 1 - 0.5
    diamond = u.abs() + w.abs()
    medallion = torch.hypot(u, w) * (1 + 0.18 * torch.cos(8 * torch.atan2(w, u)))
    image = mix(ground.expand(-1, -1, noise.size, noise.size), third, step(0.43, 0.42, diamond))
    image = mix(image, second, step(0.03, 0.02, (diamond - 0.45).abs()))
    image = mix(image, ground, step(0.29, 0.28, medallion))
    image = mix(image, second, step(0.19, 0.18, medallion))
    image = mix(image, third, step(0.09, 0.08, medallion))
    thread = torch.sin(TAU * 64 * noise.x) * torch.sin(TAU * 64 * noise.y)
    return shade(image, 0.1 * thread + 0.09 * noise.grain(v))


def marble(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.0, 1.0), (0.0, 0.12), (0.82, 0.97))
    vein = noise.colour(v, (0.05, 0.65), (0.05, 0.3), (0.25, 0.5))
    slant = (noise.x * noise.number(v, 1, 2.5) + noise.y * noise.number(v, -2.5, 2.5)) * 2
    image = mix(base, vein, 0.14 * noise.fbm(v, 3, 4) + 0.1)
    for frequency, width, strength in ((1.0, 0.07, 0.85), (2.1, 0.05, 0.5)):
        line = torch.sin(TAU * frequency * (slant / 2 + 0.28 * noise.fbm(v, 2.2, 5))).abs()
        image = mix(image, vein, strength * (1 - line / (width * 2.5)).clamp(0, 1) ** 0.7)
    return image


def field_of_flowers(noise: Noise, v: int) -> torch.Tensor:
    dark = noise.colour(v, (0.24, 0.36), (0.55, 0.85), (0.18, 0.3))
    fresh = noise.colour(v, (0.22, 0.34), (0.5, 0.8), (0.5, 0.7))
    image = mix(dark, fresh, blades(noise, v, 26, 8, 2, 0.5, 1.8))
    hue = noise.number(v, 0.72, 1.2)
    spread = noise.number(v, 0.03, 0.3)
    for cells in (13, 8):

        def flower(cell):
            angle = torch.atan2(cell.dy, cell.dx) + cell.number(2) * TAU
            petals = 0.75 + 0.25 * torch.cos(5 * angle)
            return (0.34 + 0.2 * cell.number(3)) * petals - torch.hypot(cell.dx, cell.dy)

        height, owner = noise.scatter(v, cells, cells, flower)
        away, pale = torch.hypot(owner.dx, owner.dy), owner.number(1)
        petal = hsv(hue + spread * (owner.number(0) - 0.5), 0.85 - 0.75 * (pale < 0.25).float(), 0.8 + 0.2 * pale)
        petal = shade(petal, 0.9 * away - 0.3)
        centre = rgb(0.95, 0.75, 0.1)
        petal = mix(petal, centre, step(0.14, 0.1, away))
        image = mix(image, petal, step(0.0, 0.05, height))
    return image


def lava(noise: Noise, v: int) -> torch.Tensor:
    crust = noise.colour(v, (0.0, 0.08), (0.05, 0.35), (0.08, 0.2))
    glow = noise.colour(v, (0.0, 0.035), (0.92, 1.0), (0.8, 1.0))
    hot = noise.colour(v, (0.09, 0.14), (0.5, 0.9), (1.0, 1.0))
    warp = torch.stack([noise.fbm(v, 4, 4), noise.fbm(v, 4, 4)], 1) * 0.22
    first, second, _ = noise.worley(v, 5, 5, 0.9, warp)
    edge = second - first + 0.05 * noise.fbm(v, 3, 3)
    image = shade(crust, 0.4 * noise.fbm(v, 16, 4))
    image = mix(image, glow, step(0.3, 0.03, edge))
    return mix(image, hot, step(0.13, 0.0, edge))


def gravel(noise: Noise, v: int) -> torch.Tensor:
    base = noise.colour(v, (0.05, 0.12), (0.02, 0.15), (0.5, 0.68))
    first, second, pebble = noise.worley(v, 21, 21, 0.9)
    light = 1.0 * (pebble.number(0) - 0.5) - 0.5 * first + 0.2
    image = shade(base * (1 + 0.15 * (pebble.colour(1, 2, 3) - 0.5)), light)
    return image * (0.25 + 0.75 * step(0.03, 0.25, second - first))[:, None]


def wheat_field(noise: Noise, v: int) -> torch.Tensor:
    dark = noise.colour(v, (0.08, 0.11), (0.6, 0.8), (0.35, 0.5))
    gold = noise.colour(v, (0.1, 0.14), (0.5, 0.75), (0.85, 1.0))
    image = mix(dark, gold, blades(noise, v, 34, 5, 2, 0.33, 1.9) * 0.8)
    for cells in (8, 6):

        def ear(cell):
            lean = cell.dx + (cell.number(0) - 0.5) * 0.7 * cell.dy
            kernels = 0.75 + 0.25 * torch.cos(cell.dy * 26 + TAU * torch.sign(lean) * 0.25)
            return 0.2 * kernels * (1 - (cell.dy / 0.6) ** 2).clamp_min(0) ** 0.5 - lean.abs()

        height, owner = noise.scatter(v, cells, cells + 4, ear)
        ears = shade(gold.expand(-1, -1, noise.size, noise.size), 0.35 * owner.number(1) - 0.45 + 2.8 * height)
        image = mix(image, ears, step(0.0, 0.02, height))
    return image


def tiled_floor(noise: Noise, v: int) -> torch.Tensor:
    first = noise.colour(v, (0.0, 1.0), (0.0, 0.2), (0.82, 0.97))
    second = noise.colour(v, (0.0, 1.0), (0.1, 0.6), (0.2, 0.75))
    grout = noise.colour(v, (0.0, 1.0), (0.0, 0.05), (0.4, 0.65))
    n = noise.number(v, 5, 8).round()
    u, w = noise.x * n, noise.y * n
    checker = (u.floor() + w.floor()) % 2
    tone = 0.06 * noise.fbm(v, 3, 2) + 0.1 * ((u % 1 - 0.5) + (0.5 - w % 1)) * 0.6
    image = shade(mix(first, second, checker), tone)
    edge = torch.minimum(torch.minimum(u % 1, 1 - u % 1), torch.minimum(w % 1, 1 - w % 1))
    return mix(grout, image, step(0.02, 0.045, edge))


def dry_leaves(noise: Noise, v: int) -> torch.Tensor:
    ground = noise.colour(v, (0.04, 0.08), (0.4, 0.6), (0.12, 0.25))
    image = ground.expand(-1, -1, noise.size, noise.size)
    hue = noise.number(v, 0.045, 0.085)
    for cells in (9, 8, 7):

        def turned(cell):
            cos, sin = (TAU * cell.number(0)).cos(), (TAU * cell.number(0)).sin()
            return cell.dx * cos + cell.dy * sin, (cell.dy * cos - cell.dx * sin).abs()

        def leaf(cell):
            along, across = turned(cell)
            return 0.34 * (1 - (along / 0.75) ** 2) * (1 - 0.3 * along) - across

        height, owner = noise.scatter(v, cells, cells, leaf)
        along, across = turned(owner)
        tone = hue + 0.09 * (owner.number(1) - 0.55)
        colour = hsv(tone, 0.6 + 0.35 * owner.number(2), 0.45 + 0.5 * owner.number(3))
        side = torch.cos((along - across * 0.8) * 28) * 0.08
        colour = shade(colour, side + 0.5 * height - 0.1 - 0.4 * step(0.035, 0.01, across))
        image = mix(image * (1 - 0.35 * step(0.1, 0.0, height))[:, None], colour, step(0.0, 0.03, height))
    return image


PROCEDURES = {
    "sky": sky,
    "night sky": night_sky,
    "sunset": sunset,
    "grass": grass,
    "sand": sand,
    "snow": snow,
    "water": water,
    "brick wall": brick_wall,
    "wooden floor": wooden_floor,
    "road": road,
    "forest": forest,
    "stone wall": stone_wall,
    "carpet": carpet,
    "marble": marble,
    "field of flowers": field_of_flowers,
    "lava": lava,
    "gravel": gravel,
    "wheat field": wheat_field,
    "tiled floor": tiled_floor,
    "dry leaves": dry_leaves,
}
NAMES = tuple(PROCEDURES)
VARIANTS = 12  # textures of each material
ABOVE = ("sky", "night sky", "sunset")  # what belongs above a horizon


class TextureBank:
    """Ready textures of every named material.

    levels: list of uint8 (M * variants, 3, s, s) with s = size, size/2, size/4: a mip pyramid; texture
        `material * variants + variant`.
    """

    def __init__(self, seed: int, variants: int = VARIANTS, size: int = 256, device="cpu", names=NAMES):
        images = [make(name, seed, variants, size) for name in names]
        self.variants, self.size = variants, size
        full = torch.cat(images)
        halves = [full, *(F.avg_pool2d(full, 2**i) for i in (1, 2))]
        self.levels = [(p * 255).round().to(torch.uint8).to(device) for p in halves]


def make(name: str, seed: int, variants: int, size: int) -> torch.Tensor:
    """Variants of one material: float (variants, 3, size, size) in 0..1, the same for the same arguments."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=7).digest()
    return PROCEDURES[name](Noise(int.from_bytes(digest, "big"), size), variants).clamp(0, 1)
