"""Sources of training pairs: each batch is a function of a seed, so that a run can be resumed exactly.

A source has `batch(seed, n, stage) -> (pixels uint8 (n, 3, S, S), n captions)`, `sample_captions(n)` for the tokenizer
and `vocabulary(words)`: which phrases the captions taught, and how often. `masks(seed, n, stage)` are the pseudo-masks
of the same batch, ids (n, S / 4, S / 4); pictures that come without one have -1 everywhere, and `bare` says whether
there are such. No source carries people's masks.
"""

from collections import Counter

import torch

from sseg.errors import SSegError
from train.data.grids import no_masks
from train.data.held_out import held_words
from train.data.map_pairs import MapPairs
from train.data.stickers.world import Difficulty, StickerWorld
from train.data.tars import TarPairs
from train.data.whole_masks import open_masks


class StickerPairs:
    """An endless stream of rendered scenes with captions."""

    bare = True

    def __init__(self, seed: int, device, stages: list[dict]):
        self.seed, self.device, self.stages = seed, device, stages
        self.worlds = {}  # one renderer for each size

    def world(self, size: int) -> StickerWorld:
        if size not in self.worlds:
            self.worlds[size] = StickerWorld(size, self.device, split="train")
        return self.worlds[size]

    def batch(self, seed: int, n: int, stage: dict):
        """n scenes of the size and difficulty that `stage` gives."""
        seed = self.seed * 1_000_000_000 + seed
        return self.world(stage["size"]).batch(seed, n, Difficulty(**stage["difficulty"]))

    def masks(self, seed: int, n: int, stage: dict) -> torch.Tensor:
        """None yet: scenes are new in every batch."""
        return no_masks(n, stage["size"] // 4, self.device)

    def sample_captions(self, n: int) -> list[str]:
        """Captions of scenes of every stage, from seeds that training does not reach."""
        each, captions = max(1, n // len(self.stages)), []
        for index, stage in enumerate(self.stages):
            seed = self.seed * 1_000_000_000 + 900_000_000 + index
            captions += self.world(stage["size"]).plan(seed, each, Difficulty(**stage["difficulty"])).captions
        return captions

    def vocabulary(self, words: Counter) -> list[dict]:
        """Names and synonyms, each with the count of its rarest word in the captions seen."""
        from train.data.stickers.glyphs import load_vocabulary

        known = load_vocabulary()
        entries = []
        for kind, items in (("thing", known.things), ("material", known.materials)):
            for item in items:
                for text in (item.name, *item.synonyms):
                    count = min(words[word] for word in text.lower().split())
                    entry = {"text": text, "count": count, "kind": kind}
                    entries.append(entry if text == item.name else entry | {"name": item.name})
        return entries


class Mixture:
    """Several sources in every batch, each with its share of it."""

    def __init__(self, parts: list, shares: list[float]):
        self.parts, self.shares = parts, [share / sum(shares) for share in shares]
        self.bare = any(part.bare for part in parts)

    def counts(self, n: int) -> list[int]:
        """How many of n pairs come from each source; they sum to n."""
        ends = [round(n * sum(self.shares[: i + 1])) for i in range(len(self.parts))]
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]

    def batch(self, seed: int, n: int, stage: dict):
        """The pairs of the first source, then those of the next."""
        found = [part.batch(seed, count, stage) for part, count in self._drawn(n)]
        return torch.cat([pixels for pixels, _ in found]), [text for _, texts in found for text in texts]

    def masks(self, seed: int, n: int, stage: dict) -> torch.Tensor:
        """Pseudo-masks in the order of `batch`."""
        return torch.cat([part.masks(seed, count, stage) for part, count in self._drawn(n)])

    def _drawn(self, n: int):
        return [(part, count) for part, count in zip(self.parts, self.counts(n), strict=True) if count]

    def sample_captions(self, n: int) -> list[str]:
        """Captions of each source, by its share."""
        return [text for part, count in self._drawn(n) for text in part.sample_captions(count)]

    def vocabulary(self, words: Counter) -> list[dict]:
        """Phrases of all sources; one that two of them know is the first one's."""
        entries: list[dict] = []
        for part in self.parts:
            before = {entry["text"] for entry in entries}
            entries += [entry for entry in part.vocabulary(words) if entry["text"] not in before]
        return entries


def open_pairs(recipe: dict, seed: int, device, stages: list[dict], pseudo_masks: dict | None = None):
    """The source that a recipe's `data` names: `{name: stickers}`, `{name: tars, root: FOLDER}`, or a mixture.

    A mixture is `{name: mixture, parts: [...]}`: parts as above, each with its `share`; tars may have `pseudo_masks` of
    their own, and `only`, patterns of the tars to take. `pseudo_masks`, of the same recipe: where they are those of
    whole pictures, they come from the source.
    """
    if recipe["name"] == "mixture":
        parts = [open_pairs(part, seed, device, stages, part.get("pseudo_masks")) for part in recipe["parts"]]
        if any(source.bare and part.get("pseudo_masks") for source, part in zip(parts, recipe["parts"], strict=True)):
            raise SSegError("A part's own pseudo_masks are those of whole pictures: give them stored or whole, or "
                            "leave them to the recipe's.")
        return Mixture(parts, [part["share"] for part in recipe["parts"]])
    if recipe["name"] == "maps":
        return MapPairs(recipe, seed, held_words(recipe))
    if recipe["name"] not in ("tars", "stickers"):
        raise SSegError(f'There are no pairs of the kind "{recipe["name"]!s:.40}": data.name is tars, stickers, maps '
                        "or mixture.")
    masks = open_masks(pseudo_masks, stages, device) if pseudo_masks else None
    if recipe["name"] == "tars":
        return TarPairs(recipe["root"], seed, device, recipe.get("cache_size", 160), masks, recipe.get("only", "*"))
    if masks:
        raise SSegError("Stickers are new in every batch: leave pseudo_masks.stored and whole out, or train on tars.")
    return StickerPairs(seed, device, stages)
