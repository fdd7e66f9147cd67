"""How fast the sticker world renders: python -m benchmarks.data [--device cpu] [--threads 2] [--seconds 5]

Scenes a second, planned, captioned and rendered, at several sizes. The rival composes scenes of the same kind with
Pillow in one thread: as many materials and glyphs, but no captions, light, noise or blur. `ratio` is the rival's time
for a scene of 128 px over ours.
"""

import argparse
import json
import random
import time

import numpy as np
import torch
from PIL import Image

from train.data.stickers import glyphs, materials
from train.data.stickers.world import EASY, PAIRS, TEST, StickerWorld
from train.provenance import commit, hardware

RUNS = ((48, "easy", EASY), (64, "easy", EASY), (96, "pairs", PAIRS), (128, "test", TEST), (224, "test", TEST))
RIVAL_SIZE = 128
BATCH = 128


def scenes_per_second(work, scenes_a_call: int, seconds: float) -> float:
    """Rate of `work(i)` over about that many seconds, after one call that does not count."""
    work(0)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        calls += 1
        work(calls)
    return calls * scenes_a_call / (time.perf_counter() - start)


def ours(size: int, difficulty, device: str, seconds: float) -> float:
    world = StickerWorld(size, device)

    def batch(seed):
        pixels, _ = world.batch(seed, BATCH, difficulty)
        pixels[-1, -1, -1, -1].item()  # wait for the device

    return scenes_per_second(batch, BATCH, seconds)


class PillowWorld:
    """Scenes like TEST's, drawn one by one with Pillow from the same atlas and textures."""

    def __init__(self, size: int):
        self.size = size
        self.glyphs = [Image.fromarray(cell.permute(1, 2, 0).numpy(), "RGBA") for cell in glyphs.atlas()]
        bank = materials.TextureBank(seed=1)
        self.textures = [Image.fromarray(t.permute(1, 2, 0).numpy()) for t in bank.levels[0]]

    def ground(self, rng: random.Random) -> Image.Image:
        texture = rng.choice(self.textures)
        side = rng.uniform(0.55, 1) * texture.width
        x, y = rng.uniform(0, texture.width - side), rng.uniform(0, texture.width - side)
        return texture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))

    def border(self, rng: random.Random) -> Image.Image:
        """A wavy half plane as a mask."""
        level = np.linspace(-1, 1, 9)[:, None] + rng.uniform(-0.5, 0.5)
        wave = np.random.default_rng(rng.getrandbits(32)).normal(0, 0.2, (9, 9))
        coarse = Image.fromarray((128 + 400 * (level + wave)).clip(0, 255).astype(np.uint8))
        return coarse.resize((self.size, self.size), Image.Resampling.BICUBIC)

    def scene(self, rng: random.Random) -> np.ndarray:
        canvas = self.ground(rng)
        for _ in range(rng.randint(1, 3) - 1):
            canvas.paste(self.ground(rng), (0, 0), self.border(rng))
        for _ in range(rng.randint(1, 4)):
            side = round(rng.uniform(0.25, 0.6) * self.size)
            sticker = rng.choice(self.glyphs).resize((side, side), Image.Resampling.BILINEAR)
            sticker = sticker.rotate(rng.uniform(-35, 35), Image.Resampling.BILINEAR, expand=True)
            place = rng.randint(0, self.size - side), rng.randint(0, self.size - side)
            canvas.paste(sticker, place, sticker)
        return np.asarray(canvas)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement lasts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = {}
    for size, name, difficulty in RUNS:
        rates[size] = ours(size, difficulty, options.device, options.seconds)
        print(f"{size:4d} px, {name:5s}: {rates[size]:7.0f} scenes/s")
    rival, rng = PillowWorld(RIVAL_SIZE), random.Random(0)
    rival_rate = scenes_per_second(lambda i: rival.scene(rng), 1, options.seconds)
    print(f"Pillow, {RIVAL_SIZE} px, one thread: {rival_rate:.0f} scenes/s")
    result = {
        "benchmark": "data",
        "device": options.device,
        "threads": options.threads,
        "scenes_per_second": {str(size): round(rate) for size, rate in rates.items()},
        "rival": f"Pillow, one thread, {RIVAL_SIZE} px",
        "rival_scenes_per_second": round(rival_rate),
        "ratio": round(rates[RIVAL_SIZE] / rival_rate, 2),
        "commit": commit(),
        "hardware": hardware(options.device),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
