"""Maps of a frozen encoder, computed once and kept: everything behind them then trains at hundreds of pairs a second.

A folder holds, for V views (crops) of each of M photographs, the encoder's maps in half precision, memory-mapped, and
the clusters of each view, which the masks learn from:

    maps.json                   what made them: encoder, size, tars, and which samples
    view-0-level-0.npy          (M, C, h, w) float16, fine to coarse; view 0: the photograph squashed to a square
    view-0-clusters.npy         (M, h, w) uint8: K-Means of `sseg.models.map_clusters`, on the last map's cells but one
    view-0-done-0-of-2.txt      how many batches part 0 of 2 has written: a stopped run goes on there
    damaged.json                which of the listed samples have pictures that cannot be read; they are left out
"""

import json
import math
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sseg import images
from sseg.errors import SSegError
from sseg.models.map_clusters import cluster
from train.assignment import Names, Regions, assign, balance, called
from train.data.held_out import without
from train.data.kinds import load_kinds
from train.data.shards import Sample, data_path, list_samples, vocabulary_of
from train.ground import measure
from train.tags import Tagger

AREA = (0.3, 0.9)  # share of the photograph that a view shows, but for view 0
STRETCH = 0.3  # a view's logarithm of width / height, against the photograph's, is at most this
AT_ONCE = 16  # photographs written at once; the encoder takes them one by one, which fits a processor's cache


class Kept(NamedTuple):
    """Which maps are kept, from a recipe's `maps`."""

    folder: Path
    size: int  # side in pixels of the squares that the encoder sees
    views: int
    clusters: int  # K

    def file(self, view: int, what: str) -> Path:
        return self.folder / f"view-{view}-{what}.npy"


def samples_of(root: Path, only: str = "*") -> list[Sample]:
    """The samples of a folder's tars in the order of the kept maps: shuffled with seed 0, so parts are alike."""
    samples, incomplete = list_samples(root, only)
    if incomplete:
        print(f"left out of {root}: {incomplete} samples without picture, caption or end", file=sys.stderr)
    random.Random(0).shuffle(samples)
    return samples


def readable(folder: Path, samples: list[Sample]) -> list[Sample]:
    """The samples without damaged pictures: found when the maps' folder is new, written down there, said once."""
    record = folder / "damaged.json"
    if not record.is_file() and (folder / "maps.json").is_file():
        return samples  # maps from before damaged pictures were written down
    if not record.is_file():
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
            fine = list(pool.map(_opens, samples))
        damaged = [_name(sample) for sample, opens in zip(samples, fine, strict=True) if not opens]
        if damaged:
            print(f"left out of {folder}: {len(damaged)} damaged pictures", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        _write(record, json.dumps(damaged))
    damaged = set(json.loads(record.read_text()))
    return [sample for sample in samples if _name(sample) not in damaged]


def _name(sample: Sample) -> str:
    return f"{sample.tar.name}/{sample.key}"


def view_of(picture: Image.Image, index: int, view: int, size: int) -> np.ndarray:
    """View number `view` of photograph `index`: (size, size, 3) uint8; odd views are mirrored."""
    width, height = picture.size
    box = (0, 0, width, height)
    if view:
        rng = random.Random(31 * index + view)
        area, stretch = rng.uniform(*AREA) * width * height, math.exp(rng.uniform(-STRETCH, STRETCH))
        w, h = min(width, round(math.sqrt(area * stretch))), min(height, round(math.sqrt(area / stretch)))
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
        box = (x, y, x + w, y + h)
    picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if view % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture)


def keep(kept: Kept, samples: list[Sample], encoder: nn.Module, name: str, mean, std, part: int = 0, parts: int = 1):
    """Compute what is missing of part `part` of the maps; says size and time before it begins, and how long it takes.

    Args:
        encoder: pictures (B, 3, S, S) -> `feature_maps`, in evaluation mode; name: what is written down as its name.
        mean, std: of the encoder's pictures, for values in 0..1.
        part, parts: this process's share of the batches; what others have written is left as it is.
    Raises:
        SSegError: the folder holds maps of another encoder, size or other samples.
    """
    shapes = map_shapes(encoder, kept.size)
    _open_folder(kept, samples, name, shapes)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    _announce(kept, len(samples), shapes)
    for view in range(kept.views):
        levels = [np.load(kept.file(view, f"level-{i}"), mmap_mode="r+") for i in range(len(shapes))]
        clusters = np.load(kept.file(view, "clusters"), mmap_mode="r+")
        record = kept.folder / f"view-{view}-done-{part}-of-{parts}.txt"
        batches = range(part, -(-len(samples) // AT_ONCE), parts)
        written, start = _written(kept, view, -(-len(samples) // AT_ONCE)), time.monotonic()
        todo = [(place, batch) for place, batch in enumerate(batches, 1) if batch not in written]
        for count, (place, batch) in enumerate(todo, 1):
            first = batch * AT_ONCE
            chosen = samples[first : first + AT_ONCE]
            pictures = [view_of(_open(sample), first + i, view, kept.size) for i, sample in enumerate(chosen)]
            found = [_encode(encoder, picture, mean, std) for picture in pictures]
            maps = [torch.cat(level) for level in zip(*found, strict=True)]
            for level, made in zip(levels, maps, strict=True):
                level[first : first + len(chosen)] = made.numpy()
            seeds = torch.arange(first, first + len(chosen))
            clusters[first : first + len(chosen)] = cluster(maps, kept.clusters, seeds).numpy()
            if count % 10 == 0 or count == len(todo):
                _write(record, str(place))
            if count % 50 == 0:
                left = (time.monotonic() - start) / count * (len(todo) - count) / 60
                print(f"view {view}: {place} of {len(batches)} batches, {left:.0f} min left", file=sys.stderr)


def _written(kept: Kept, view: int, batches: int) -> set[int]:
    """The batches of a view that any part has written, however many parts there were."""
    found: set[int] = set()
    for record in kept.folder.glob(f"view-{view}-done-*-of-*.txt"):
        part, parts = (int(number) for number in record.stem.split("-done-")[1].split("-of-"))
        found.update(range(part, batches, parts)[: int(record.read_text())])
    return found


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def map_shapes(encoder: nn.Module, size: int) -> list[tuple[int, int, int]]:
    """(C, h, w) of each map of a square picture of that side."""
    with torch.inference_mode():
        picture = torch.zeros(1, 3, size, size, device=next(encoder.parameters()).device)
        return [tuple(one.shape[1:]) for one in encoder(picture).feature_maps]


def _encode(encoder, picture: np.ndarray, mean: Tensor, std: Tensor) -> list[Tensor]:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    values = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        maps = encoder(values.to(next(encoder.parameters()).device)).feature_maps
    return [one.half().contiguous().cpu() for one in maps]


def _open(sample: Sample) -> Image.Image:
    """The picture, read as in use; SSegError if it is damaged."""
    with sample.tar.open("rb") as file:
        file.seek(sample.offset)
        data = file.read(sample.size)
    try:
        return Image.fromarray(images.read(data))
    except SSegError as error:
        raise SSegError(f"The picture {sample.key} of {sample.tar} is damaged: take it out of the tar.") from error


def _opens(sample: Sample) -> bool:
    try:
        return bool(_open(sample))
    except SSegError:
        return False


def _open_folder(kept: Kept, samples: list[Sample], name: str, shapes) -> None:
    """Make the folder and its empty files, or check that it holds maps of the very same."""
    described = {"encoder": name, "size": kept.size, "clusters": kept.clusters, "keys": [s.key for s in samples]}
    listing = kept.folder / "maps.json"
    other = SSegError(f"{kept.folder} holds maps of another encoder, size or data: name another data.folder.")
    if listing.is_file():
        if json.loads(listing.read_text(encoding="utf-8")) != described:
            raise other
    else:
        kept.folder.mkdir(parents=True, exist_ok=True)
        _write(listing, json.dumps(described))
    for view in range(kept.views):
        files = {f"level-{i}": (np.float16, shape) for i, shape in enumerate(shapes)}
        files["clusters"] = (np.uint8, shapes[-2][1:])
        for what, (kind, shape) in files.items():
            path = kept.file(view, what)
            if not path.is_file():
                unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
                np.lib.format.open_memmap(unfinished, "w+", kind, (len(samples), *shape)).flush()
                _put(unfinished, path)
            elif np.load(path, mmap_mode="r").shape != (len(samples), *shape):
                raise other


def _put(unfinished: Path, path: Path) -> None:
    """Give a file its name, unless another process was faster: what that one writes must not be lost."""
    try:
        os.link(unfinished, path)
    except OSError:  # there already, or a file system without links
        if not path.is_file():
            os.replace(unfinished, path)
    unfinished.unlink(missing_ok=True)


def _announce(kept: Kept, count: int, shapes) -> None:
    size = kept.views * count * sum(2 * math.prod(shape) for shape in shapes) / 1e9
    print(f"maps of {kept.views} views of {count:,} photographs: {size:.1f} GB in {kept.folder}", file=sys.stderr)


class MapPairs:
    """Kept maps as a source of training pairs (see `train.data.pairs`): a batch holds maps in the place of pixels.

    Once `keep_features` has run, a batch holds the features of the masks instead: for training meaning alone.
    """

    bare = False

    def __init__(self, recipe: dict, seed: int, held: set[str]):
        """`recipe`: the `data` of a recipe (`train/recipes/photos.yaml`); `held`: words that captions go without."""
        self.seed = seed
        self.kept = Kept(data_path(recipe["folder"]), recipe["size"], recipe["views"], recipe["clusters"])
        self.samples = readable(self.kept.folder, samples_of(data_path(recipe["root"]), recipe.get("only", "*")))
        self.captions = [[rest for text in sample.captions if (rest := without(text, held))] for sample in self.samples]
        self.shares = shares_of(self.samples, self.captions, recipe.get("shares") or [{"only": "*", "share": 1.0}])
        self.features: np.ndarray | None = None  # (V, M, N, D + 2), see `keep_features`

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
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npy")
            made = np.lib.format.open_memmap(part, "w+", np.float16, size)
            for view in range(self.kept.views):
                for first in range(0, len(self.samples), AT_ONCE):
                    maps = [torch.from_numpy(np.array(level[first : first + AT_ONCE])).float()
                            for level in self.levels[view]]  # fmt: skip
                    out = model.from_maps([one.to(model.device) for one in maps])
                    found = torch.cat([out.mask_features, measure(out.mask_logits)], 2)
                    made[view, first : first + AT_ONCE] = found.float().cpu().numpy()
            made.flush()
            part.replace(path)
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
            part = path.with_suffix(".part.npy")
            np.save(part, shares.unflatten(0, (self.kept.views, -1)).numpy())
            part.replace(path)
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

    def batch(self, seed: int, n: int, stage: dict) -> tuple[list[Tensor] | Tensor, list[str]]:
        """Maps (n, C, h, w) float32, fine to coarse, or features and measures of masks (n, N, D + 2); n captions."""
        drawn = self.draw(seed, n)
        rng = random.Random(f"{self.seed}/{seed}/captions")
        captions = [rng.choice(self.captions[row]) for _, row in drawn]
        if self.features is not None:
            return torch.from_numpy(np.stack([self.features[pair] for pair in drawn])).float(), captions
        levels = range(len(self.levels[0]))
        maps = [torch.from_numpy(np.stack([self.levels[v][i][row] for v, row in drawn])).float() for i in levels]
        return maps, captions

    def assigned(self, seed: int, n: int) -> tuple[Tensor, list[list[int]]]:
        """Of `batch` of the same arguments: shares (n, N, C + 1) of groups in regions, and the words named in each."""
        drawn = self.draw(seed, n)
        shares = torch.from_numpy(np.stack([self.shares_of_groups[pair] for pair in drawn])).float()
        return shares, [self.named[row] for _, row in drawn]

    def masks(self, seed: int, n: int, stage: dict) -> Tensor:
        """Clusters of `batch` of the same arguments, cells of the coarsest map: ids (n, h, w) int64."""
        return torch.from_numpy(np.stack([self.clusters[v][row] for v, row in self.draw(seed, n)])).long()

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


def shares_of(samples: list[Sample], captions: list[list[str]], parts: list[dict]) -> list[tuple[list[int], float]]:
    """Rows of the samples whose tar one of the `only` patterns names, and the share of a batch that they have."""
    total, found = sum(part["share"] for part in parts), []
    for part in parts:
        patterns = part["only"].split()
        rows = [row for row, sample in enumerate(samples)
                if captions[row] and any(fnmatchcase(sample.tar.stem, one) for one in patterns)]  # fmt: skip
        if not rows:
            raise SSegError(f"data.shares names no sample with \"{part['only']}\": write patterns of tars' names.")
        found.append((rows, part["share"] / total))
    return found
