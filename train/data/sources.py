"""Sources of training pairs: each batch is a function of a seed, so that a run can be resumed exactly.

A source has `batch(seed, n, stage) -> Batch` (`train.data.batch`), `sample_captions(n)` for the tokenizer and
`vocabulary(words)`: which phrases the captions taught, and how often. `needs_clusters` says whether its batches hold
images whose pseudo-masks have yet to be made. No source carries people's masks.
"""

from collections import Counter

from sseg.errors import SSegError
from train.data.batch import Batch, joined
from train.data.held_out import held_words
from train.data.map_pairs import MapPairs
from train.data.stickers.world import StickerWorld
from train.data.tars import TarPairs
from train.data.whole_masks import open_masks


class StickerPairs:
    """An endless stream of rendered scenes with captions."""

    needs_clusters = True

    def __init__(self, seed: int, device, stages: list):
        self.seed, self.device, self.stages = seed, device, stages
        self.worlds = {}  # one renderer for each size

    def world(self, size: int) -> StickerWorld:
        if size not in self.worlds:
            self.worlds[size] = StickerWorld(size, self.device, split="train")
        return self.worlds[size]

    def batch(self, seed: int, n: int, stage) -> Batch:
        """n scenes of the size and difficulty that `stage` gives."""
        seed = self.seed * 1_000_000_000 + seed
        return Batch(*self.world(stage.size).batch(seed, n, stage.difficulty))

    def sample_captions(self, n: int) -> list[str]:
        """Captions of scenes of every stage, from seeds that training does not reach."""
        each, captions = max(1, n // len(self.stages)), []
        for index, stage in enumerate(self.stages):
            seed = self.seed * 1_000_000_000 + 900_000_000 + index
            captions += self.world(stage.size).plan(seed, each, stage.difficulty).captions
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
        self.needs_clusters = any(part.needs_clusters for part in parts)

    def counts(self, n: int) -> list[int]:
        """How many of n pairs come from each source; they sum to n."""
        ends = [round(n * sum(self.shares[: i + 1])) for i in range(len(self.parts))]
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]

    def batch(self, seed: int, n: int, stage) -> Batch:
        """The pairs of the first source, then those of the next."""
        return joined([part.batch(seed, count, stage) for part, count in self._drawn(n)])

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


def open_pairs(data, seed: int, device, stages: list, pseudo_masks=None):
    """The source that a recipe's `data` names, one of `Stickers`, `Tars`, `Maps` and `Mixture` of `train.recipe`.

    Args:
        pseudo_masks: of the same recipe; where they are those of whole pictures, they come from the source. Tars in a
            mixture may have their own.
    Raises:
        SSegError: pseudo-masks that the source cannot have; whatever opening it raises.
    """
    if data.name == "mixture":
        masks = [getattr(part, "pseudo_masks", None) for part in data.parts]
        parts = [open_pairs(part, seed, device, stages, own) for part, own in zip(data.parts, masks, strict=True)]
        if any(source.needs_clusters and own for source, own in zip(parts, masks, strict=True)):
            raise SSegError(
                "A part's own pseudo_masks are those of whole pictures: give them stored or whole, or "
                "leave them to the recipe's."
            )
        if not parts or not all(part.share for part in data.parts):
            raise SSegError("The parts of a mixture each have a share above 0: write data.parts with them.")
        return Mixture(parts, [part.share for part in data.parts])
    if data.name == "maps":
        return MapPairs(data, seed, held_words(data))
    masks = open_masks(pseudo_masks, stages, device) if pseudo_masks else None
    if data.name == "tars":
        return TarPairs(data.root, seed, device, data.cache_size, masks, data.only)
    if masks:
        raise SSegError("Stickers are new in every batch: leave pseudo_masks.stored and whole out, or train on tars.")
    return StickerPairs(seed, device, stages)
