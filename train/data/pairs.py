"""Sources of training pairs: each batch is a function of a seed, so that a run can be resumed exactly.

A source has `batch(seed, n, stage) -> (pixels uint8 (n, 3, S, S), n captions)`, `sample_captions(n)` for the tokenizer
and `vocabulary(words)`: which phrases the captions taught, and how often. `grids` is None, or the source also has
`masks(seed, n, stage) -> ids (n, S / 4, S / 4)`, the pseudo-masks of the same batch. No source carries people's masks.
"""

from collections import Counter

from sseg.errors import SSegError
from train.data.shards import TarPairs
from train.data.stickers import Difficulty, StickerWorld
from train.pseudo_masks import open_masks


class StickerPairs:
    """An endless stream of rendered scenes with captions."""

    def __init__(self, seed: int, device, stages: list[dict]):
        self.seed, self.device, self.stages = seed, device, stages
        self.grids = None  # no pseudo-masks beside the pictures
        self.worlds = {}  # one renderer for each size

    def world(self, size: int) -> StickerWorld:
        if size not in self.worlds:
            self.worlds[size] = StickerWorld(size, self.device, split="train")
        return self.worlds[size]

    def batch(self, seed: int, n: int, stage: dict):
        """n scenes of the size and difficulty that `stage` gives."""
        seed = self.seed * 1_000_000_000 + seed
        return self.world(stage["size"]).batch(seed, n, Difficulty(**stage["difficulty"]))

    def sample_captions(self, n: int) -> list[str]:
        """Captions of scenes of every stage, from seeds that training does not reach."""
        each, captions = max(1, n // len(self.stages)), []
        for index, stage in enumerate(self.stages):
            seed = self.seed * 1_000_000_000 + 900_000_000 + index
            captions += self.world(stage["size"]).plan(seed, each, Difficulty(**stage["difficulty"])).captions
        return captions

    def vocabulary(self, words: Counter) -> list[dict]:
        """Names and synonyms, each with the count of its rarest word in the captions seen."""
        from train.data.glyphs import load_vocabulary

        known = load_vocabulary()
        entries = []
        for kind, items in (("thing", known.things), ("material", known.materials)):
            for item in items:
                for text in (item.name, *item.synonyms):
                    count = min(words[word] for word in text.lower().split())
                    entry = {"text": text, "count": count, "kind": kind}
                    entries.append(entry if text == item.name else entry | {"name": item.name})
        return entries


def open_pairs(recipe: dict, seed: int, device, stages: list[dict], pseudo_masks: dict | None = None):
    """The source that a recipe's `data` names: `{name: stickers}` or `{name: tars, root: FOLDER}`.

    `pseudo_masks`, of the same recipe: where they are those of whole pictures, they come from the source, too.
    """
    masks = open_masks(pseudo_masks, stages, device) if pseudo_masks else None
    if recipe["name"] != "stickers":
        return TarPairs(recipe["root"], seed, device, recipe.get("cache_size", 160), masks)
    if masks:
        raise SSegError("Stickers are new in every batch: leave pseudo_masks.stored and whole out, or train on tars.")
    return StickerPairs(seed, device, stages)
