"""Renders the page's example scenes: `python -m train.data.stickers.examples` writes them into assets/examples.

They come from the test split's distribution (textures and seeds that training never sees), with things to tell apart
and words that name what is shown.
"""

import argparse
import json
from pathlib import Path

from PIL import Image

from sseg.paths import ASSETS
from train.data.stickers.world import TEST, StickerWorld
from train.data.targets import load_target

SIZE = 448
SEED = 77_001
DRAWN, CHOSEN = 24, (21, 3)  # scenes drawn from the seed, and which of them a person chose to look at
WEIGHTS = "mini"  # that suit scenes


def words(world: StickerWorld, plan, scene: int) -> str:
    """Names of the things and materials of one scene, each once: what the page types for it."""
    things, materials = world.vocabulary.things, world.vocabulary.materials
    names = [things[i].name for i in plan.thing[scene].tolist() if i >= 0]
    names += [materials[i].name for i in plan.material[scene].tolist() if i >= 0]
    return ", ".join(dict.fromkeys(names))


def write(folder: Path) -> None:
    """Render the chosen scenes as scene-1.webp ... and list them, with their words, in examples.json.

    They have things of the sticker target alone, so S-Seg+ knows all. Photographs that are listed there stay before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "examples.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    listing = [one for one in before if one.get("weights") != WEIGHTS]
    world = StickerWorld(SIZE, split="test", only=load_target("stickers").things)
    plan = world.plan(SEED, DRAWN, TEST)
    for number, scene in enumerate(CHOSEN, 1):
        pixels = world.render(plan.part(scene, scene + 1))[0].permute(1, 2, 0).cpu().numpy()  # (H, W, 3) uint8
        name = f"scene-{number}.webp"
        Image.fromarray(pixels).save(folder / name, quality=90, method=6)
        listing.append({"file": name, "words": words(world, plan, scene), "weights": WEIGHTS})
    path.write_text(json.dumps(listing, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ASSETS / "examples")
    write(parser.parse_args().out)
