"""Benchmarks on rendered scenes whose ground truth is known exactly.

`stickers`: 1,000 scenes of the test split with 1-4 things whose longer side is 0.25-0.6 of the picture.
`stickers-heldout`: the same, but every thing stands in a picture with a material that it was never rendered with for
training. Every name of the vocabulary is a class: things first, then materials. `stickers-target`: scenes of the test
split that show the things of the sticker target alone (assets/targets), which are the classes, with all materials.
"""

import numpy as np
import torch

from sseg.errors import SSegError
from train.data.stickers.scenes import TEST, ScenePlan
from train.data.stickers.world import StickerWorld
from train.data.targets import load_target
from train.evaluation.datasets.folder import Sample

SPLITS = {"stickers": "test", "stickers-heldout": "heldout", "stickers-target": "test"}
SCENES = 1000
CHUNK = 50  # scenes planned from one seed
CLEAR, SOLID = 0.25, 0.75  # opacities between are soft edges, which belong to neither side


class StickersBenchmark:
    """Renders scenes as they are asked for.

    class_names: canonical names, things first; groups: class indices of "things" and "materials"; ignore: the label
        of soft edges. `seed_offset` moves to other scenes of the same distribution; `limit` takes the first ones.
    """

    ignore = -1
    background = None  # every pixel has a class

    def __init__(self, name: str = "stickers", seed_offset: int = 0, limit: int | None = None, size: int = 224):
        if name not in SPLITS:
            raise SSegError(f'There is no stickers benchmark "{name}"; take one of {", ".join(SPLITS)}.')
        self.name, self.seed_offset, self.count = name, seed_offset, SCENES if limit is None else min(limit, SCENES)
        target = load_target("stickers") if name == "stickers-target" else None
        self.world = StickerWorld(size, split=SPLITS[name], only=target.things if target else None)
        vocabulary = self.world.vocabulary
        self.class_names = target.categories if target else vocabulary.phrases()
        self.num_things = len(target.things if target else vocabulary.things)
        places = {text: place for place, text in enumerate(self.class_names)}
        self.table = torch.tensor([places.get(text, -1) for text in vocabulary.phrases()] + [-1])  # -1: soft edges
        classes = range(len(self.class_names))
        self.groups = {"things": list(classes[: self.num_things]), "materials": list(classes[self.num_things :])}

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        for start in range(0, self.count, CHUNK):
            seed = self.seed_offset * SCENES + start  # no two offsets share a seed
            plan = self.world.plan(seed, CHUNK, TEST).part(0, self.count - start)
            images = self.world.render(plan).permute(0, 2, 3, 1).cpu().numpy()
            labels = self.table[truth(plan, self.world).long()].int().numpy()
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield Sample(np.ascontiguousarray(image), label, f"{self.name}-{self.seed_offset}-{start + i:04d}")


def truth(plan: ScenePlan, world: StickerWorld) -> torch.Tensor:
    """Class of each pixel: int32 (n, size, size); materials count on from the things, -1 on soft edges."""
    alpha, regions = world.layers(plan)
    alpha, regions = alpha.cpu(), regions.cpu()  # (n, K, size, size), (n, 3, size, size)
    share, region = regions.max(1)
    classes = plan.material + len(world.vocabulary.things)  # (n, 3)
    labels = classes.gather(1, region.flatten(1)).view_as(region).masked_fill(share < SOLID, -1)
    for k in range(alpha.shape[1]):  # later things lie on top
        labels = torch.where(alpha[:, k] > CLEAR, -1, labels)
        labels = torch.where(alpha[:, k] >= SOLID, plan.thing[:, k, None, None], labels)
    return labels.to(torch.int32)
