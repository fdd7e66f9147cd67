"""Kept maps as training pairs: a batch holds maps of a frozen encoder, or features of masks, in the place of pixels."""

import random
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sseg.errors import SSegError
from train.assignment import Names, Regions, assign, balance, called
from train.data.batch import Batch, Divided, MaskIds
from train.data.held_out import without
from train.data.kinds import load_kinds
from train.data.maps import AT_ONCE, Kept, keep, readable, samples_of
from train.data.tars import Sample, data_path, vocabulary_of
from train.files import replacing
from train.ground import measure
from train.recipe.pretraining import Maps, TarShare
from train.schedules import learns
from train.tags import Tagger


class MapPairs:
    """Kept maps as a source of training pairs (see `train.data.sources`): a batch holds maps in the place of pixels.

    Once `keep_features` has run, a batch holds the features of the masks instead: for training meaning alone.
    """

    needs_clusters = False

    def __init__(self, data: Maps, seed: int, held: set[str]):
        """`data`: of a recipe (`train/recipes/photos.yaml`); `held`: words that captions go without."""
        self.seed = seed
        self.kept = Kept(data_path(data.folder), data.size, data.views, data.clusters)
        self.samples = readable(self.kept.folder, samples_of(data_path(data.root), data.only))
        self.captions = [[rest for text in sample.captions if (rest := without(text, held))] for sample in self.samples]
        self.shares = shares_of(self.samples, self.captions, data.shares or [TarShare(only="*", share=1.0)])
        self.features: np.ndarray | None = None  # (V, M, N, D + 2), see `keep_features`
        self.shares_of_groups: np.ndarray | None = None  # (V, M, N, C + 1), see `assign`

    def keep(self, encoder: nn.Module, name: str, mean, std, part: int = 0, parts: int = 1) -> None:
        """Make what is missing of the maps (`keep`), and open them."""
        keep(self.kept, self.samples, encoder, name, mean, std, part, parts)
        levels, views = range(len(encoder.channels)), range(self.kept.views)
        self.levels = [[self._open(view, f"level-{i}") for i in levels] for view in views]
        self.clusters = [self._open(view, "clusters") for view in views]

    def _open(self, view: int, what: str) -> np.ndarray:
        return np.load(self.kept.file(view, what), mmap_mode="r")

    @torch.inference_mode()
    def keep_features(self, model, path: Path) -> None:
        """Features of the model's masks in every view, behind them area and border of each (`train.ground.measure`).

        They lie in `path` (.npy, half precision); made where it is not there.
        """
        size = (self.kept.views, len(self.samples), model.regions, model.feature_dim + 2)
        if not path.is_file():
            with replacing(path) as part:
                made = np.lib.format.open_memmap(part, "w+", np.float16, size)
                for view in range(self.kept.views):
                    for first in range(0, len(self.samples), AT_ONCE):
                        maps = [torch.from_numpy(np.array(level[first : first + AT_ONCE])).float()
                                for level in self.levels[view]]  # fmt: skip
                        out = model.from_maps([one.to(model.device) for one in maps])
                        found = torch.cat([out.mask_features, measure(out.mask_logits)], 2)
                        made[view, first : first + AT_ONCE] = found.float().cpu().numpy()
                made.flush()
        self.features = np.load(path, mmap_mode="r")
        if self.features.shape != size:
            raise SSegError(f"{path} holds features of other masks: take it away, and it is made anew.")

    def assign(self, mean: Tensor, std: Tensor, tagger: Tagger | None, path: Path) -> Tensor:
        """Divide the kept regions among what captions name (`train.assignment`), which lies in `path` (.npy) from then
        on; returns the weight of each group (C + 1,). mean, std: (D,) of features; tagger: the encoder's classifier,
        whose word counts as well."""
        self.names = Names.of(self.captions)
        self.named = [self.names.named(texts) for texts in self.captions]
        kept = torch.from_numpy(np.load(self.features.filename, mmap_mode="c")).flatten(0, 1)  # (V * M, N, D + 2)
        if not path.is_file():
            tags = called(kept[..., :-2], self.names.groups, tagger) if tagger else None
            regions = Regions(kept[..., :-2], kept[..., -2], kept[..., -1], mean.cpu(), std.cpu(), tags)
            labels = self.names.labels(self.named).repeat(self.kept.views, 1)
            shares = assign(regions, labels, self.names.things, self.seed)
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, shares.unflatten(0, (self.kept.views, -1)).numpy())
        self.shares_of_groups = np.load(path, mmap_mode="r")
        if self.shares_of_groups.shape != (*self.features.shape[:3], len(self.names.groups) + 1):
            raise SSegError(f"{path} divides other regions: take it away, and it is made anew.")
        shares = torch.from_numpy(np.load(path, mmap_mode="c")).flatten(0, 1)
        return balance(shares, kept[..., -2])

    def draw(self, seed: int, n: int) -> list[tuple[int, int]]:
        """n pairs of (view, row of a photograph) in the order on disk, a function of (self.seed, seed)."""
        rng, rows, end = random.Random(f"{self.seed}/{seed}"), [], 0.0
        for members, share in self.shares:
            end += share
            rows += rng.sample(members, min(round(end * n) - len(rows), len(members)))
        return sorted((rng.randrange(self.kept.views), row) for row in rows)

    def batch(self, seed: int, n: int, stage) -> Batch:
        """Maps (n, C, h, w) float32, fine to coarse, or features and measures of masks (n, N, D + 2); n captions.

        Clusters are cells of the coarsest map, ids (n, h, w), where the stage learns shape; regions are divided once
        `assign` has run.
        """
        drawn = self.draw(seed, n)
        rng = random.Random(f"{self.seed}/{seed}/captions")
        captions = [rng.choice(self.captions[row]) for _, row in drawn]
        if self.features is not None:
            features = torch.from_numpy(np.stack([self.features[pair] for pair in drawn])).float()
            return Batch(features, captions, divided=self._divided(drawn))
        levels = range(len(self.levels[0]))
        maps = [torch.from_numpy(np.stack([self.levels[v][i][row] for v, row in drawn])).float() for i in levels]
        ids = None
        if "shape" in learns(stage):
            clusters = torch.from_numpy(np.stack([self.clusters[v][row] for v, row in drawn])).long()
            ids = MaskIds(clusters, list(range(n)))
        return Batch(maps, captions, ids)

    def _divided(self, drawn: list[tuple[int, int]]) -> Divided | None:
        if self.shares_of_groups is None:
            return None
        shares = torch.from_numpy(np.stack([self.shares_of_groups[pair] for pair in drawn])).float()
        return Divided(shares, [self.named[row] for _, row in drawn])

    def sample_captions(self, n: int) -> list[str]:
        """At most n of all captions."""
        captions = [caption for texts in self.captions for caption in texts]
        return random.Random(f"{self.seed}/captions").sample(captions, min(n, len(captions)))

    def vocabulary(self, words: Counter) -> list[dict]:
        """Words of the captions seen, and the wider names that tags teach, with count 0.

        kind: "surroundings" or "thing" for the words that places are named with, "other" for the rest: "air" or
        "side" would take pixels from what is asked for. A kind has its wider name as `wider`, a part its bearer.
        """
        kinds = load_kinds()
        names = kinds.part_of | kinds.wider
        entries = vocabulary_of(words, [caption for texts in self.captions for caption in texts])
        seen = {entry["text"] for entry in entries}
        entries += [{"text": name, "count": 0} for name in kinds.classes if name not in seen]
        for entry in entries:
            entry["kind"] = kinds.kind_of(entry["text"])
            if entry["text"] in names:
                entry["wider"] = names[entry["text"]]
        return entries


def shares_of(samples: list[Sample], captions: list[list[str]], parts: list[TarShare]) -> list[tuple[list[int], float]]:
    """Rows of the samples whose tar one of the `only` patterns names, and the share of a batch that they have."""
    total, found = sum(part.share for part in parts), []
    for part in parts:
        patterns = part.only.split()
        rows = [row for row, sample in enumerate(samples)
                if captions[row] and any(fnmatchcase(sample.tar.stem, one) for one in patterns)]  # fmt: skip
        if not rows:
            raise SSegError(f'data.shares names no sample with "{part.only}": write patterns of tars\' names.')
        found.append((rows, part.share / total))
    return found
