"""Image-text tars in WebDataset's layout, decoded once and held on the device.

A sample is KEY.jpg (or jpeg, png, webp) beside KEY.json holding {"captions": [...]} or KEY.txt, a caption a line.
Pictures lie squashed to squares in memory; every batch crops them in their true shape.
"""

import json
import os
import random
import sys
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sseg import images
from sseg.errors import SSegError
from sseg.paths import visible
from sseg.phrases import content_words
from train.data.batch import Batch, MaskIds
from train.data.grids import Grids
from train.data.nouns import nouns
from train.schedules import learns

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
MEMORY = 16 * 2**30  # bytes of pictures that may lie on the device
CROP_AREA = (0.4, 1.0)  # of the largest square that fits into the picture
RARE = 5  # a word in fewer captions is not part of the vocabulary
_DATA = Path(__file__).resolve().parents[2] / "data"
_STOP = set(
    "is are was were be been being am has have having had do does did it its he his him she her hers they them their "
    "we our you your i my me who which what where while when as but not no so than then there here very just up down "
    "out off about after before between during through across against along around behind beside front top side back "
    "onto one two three four five several many other another each both all few more most same".split()
)  # function words that `content_words` keeps; a phrase made of them alone names nothing


class Sample(NamedTuple):
    """Where a picture lies, and what is said of it."""

    tar: Path
    offset: int  # of the picture's bytes
    size: int
    captions: list[str]
    key: str


Masks = Callable[[list[Path]], Iterator[dict[str, np.ndarray]]]  # tars -> for each: key -> ids (h, w) uint8


class TarPairs:
    """A folder of tars as a source of pairs (see `train.data.sources`); small enough to lie on the device."""

    def __init__(self, root, seed: int, device, cache_size: int = 160, masks: Masks | None = None, only: str = "*"):
        """Read all samples of `root/*.tar`.

        Args:
            root: a folder; a relative one lies under $SSEG_DATA, else under data/ of the repository.
            seed: of the order of pictures, crops and captions.
            device: where pictures are kept and batches are made.
            cache_size: S, the side in pixels that pictures are squashed to; 3 S^2 bytes each.
            masks: gives the pseudo-masks of whole pictures (`train.pseudo_masks`); pictures without one are left out.
            only: names of the tars to take, without .tar: patterns as of files, a space between ("voc* coco*").
        Raises:
            SSegError: no such folder, nothing in it that can be read, or more than `MEMORY` bytes.
        """
        self.seed, self.device = seed, torch.device(device)
        root = data_path(root)
        samples, incomplete = list_samples(root, only)
        _check_memory(len(samples), cache_size, root)
        report = f"{incomplete} samples without picture, caption or end"
        self.grids, without = None, 0
        if masks:
            every, (samples, grids) = len(samples), _with_masks(samples, masks, root)
            self.grids, without = Grids(grids, self.device), every - len(samples)
            report += f", {without} pictures without pseudo-mask"
        pixels, aspects, damaged = _decode(samples, cache_size)
        if incomplete or damaged or without:
            print(f"left out of {root}: {report}, {damaged} damaged pictures", file=sys.stderr)
        keep = aspects.isfinite().nonzero().flatten()  # (M,)
        if not len(keep):
            raise SSegError(f"No picture with a caption in {root} can be read: write KEY.jpg beside KEY.json or .txt.")
        self.pixels = pixels.to(self.device)  # (M + damaged, 3, S, S) uint8
        self.rows, self.aspects = keep.tolist(), aspects
        self.captions = [sample.captions for sample in samples]
        self.needs_clusters = self.grids is None

    def __len__(self):
        return len(self.rows)

    def batch(self, seed: int, n: int, stage) -> Batch:
        """Pairs number seed * n to seed * n + n - 1 of an endless walk through shuffled epochs.

        Pixels are (n, 3, S, S) with S = stage.size. Pseudo-masks are those of the whole pictures, cut by the windows
        that the pixels are cut by, (n, S / 4, S / 4), where there are any and the stage learns shape. All on the
        device. The same arguments always give the same batch, on every device up to rounding.
        """
        rows, theta, draws = self._draw(seed, n)
        pixels = self.pixels[torch.tensor(rows, device=self.device)]
        captions = [self.captions[row] for row in rows]
        chosen = [texts[int(draw * len(texts))] for texts, draw in zip(captions, draws.tolist(), strict=True)]
        ids = None
        if self.grids and "shape" in learns(stage):
            ids = MaskIds(self.grids.cut(rows, theta, stage.size // 4), list(range(n)))
        return Batch(cut(pixels, theta.to(self.device), stage.size), chosen, ids)

    def whole(self, seed: int, n: int) -> tuple[Tensor, Tensor]:
        """The pictures of `batch`, uncut: uint8 (n, 3, S, S), squashed to squares, and their width / height (n,)."""
        rows = [self._row(seed * n + i) for i in range(n)]
        return self.pixels[torch.tensor(rows, device=self.device)], self.aspects[rows]

    def _draw(self, seed: int, n: int) -> tuple[list[int], Tensor, Tensor]:
        """What is random in a batch: rows of pictures, their windows (n, 2, 3), and a draw of 0..1 for the caption."""
        rows = [self._row(seed * n + i) for i in range(n)]
        generator = torch.Generator().manual_seed(random.Random(f"{self.seed}/{seed}").getrandbits(63))
        draws = torch.rand(5, n, generator=generator)
        return rows, crop_windows(self.aspects[rows], draws[:4]), draws[4]

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.rows))
        return self.rows[shuffled(len(self.rows), self.seed, epoch)[place]]

    def sample_captions(self, n: int) -> list[str]:
        """At most n of all captions, for the tokenizer."""
        captions = [caption for row in self.rows for caption in self.captions[row]]
        return random.Random(f"{self.seed}/captions").sample(captions, min(n, len(captions)))

    def vocabulary(self, words: Counter) -> list[dict]:
        """See `vocabulary_of`."""
        return vocabulary_of(words, [caption for row in self.rows for caption in self.captions[row]])


def vocabulary_of(words: Counter, captions: list[str]) -> list[dict]:
    """Words with a meaning that occurred at least `RARE` times in the captions seen, the commonest first.

    kind: "word" for what names something, "other" for what does not stand for a thing (verbs, adjectives), by all
    `captions` of the source. Where captions are lists of words without articles all are "word".
    """
    kept = [(word, count) for word, count in words.most_common() if count >= RARE and _has_meaning(word)]
    naming = nouns(captions)
    named = {word for word, _ in kept if word in naming}
    if len(named) < 0.1 * len(kept):
        named = {word for word, _ in kept}
    return [{"text": word, "count": count, "kind": "word" if word in named else "other"} for word, count in kept]


@lru_cache(maxsize=4)  # a batch asks for each of its items
def shuffled(n: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of n items that depends on nothing but seed and epoch."""
    order = list(range(n))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def crop_windows(aspects: Tensor, draws: Tensor, areas: tuple[float, float] = CROP_AREA) -> Tensor:
    """Random square windows of pictures that were squashed to squares.

    Args:
        aspects: (n,) width / height of the pictures.
        draws: (4, n) uniform in 0..1: area, place along x and y, flip.
        areas: least and greatest share of the largest square that fits into a picture.
    Returns:
        (n, 2, 3) maps from output to picture coordinates, both -1..1, as `affine_grid` takes them. A window is square
        in the true picture, so things keep their shape.
    """
    area, x, y, flip = draws
    side = torch.sqrt(areas[0] + area * (areas[1] - areas[0]))  # of the shorter side of the picture
    half = torch.stack([side / aspects.clamp(min=1), side * aspects.clamp(max=1)])  # (2, n) share of width and height
    centre = (1 - half) * (2 * torch.stack([x, y]) - 1)
    theta = torch.zeros(len(aspects), 2, 3)
    theta[:, 0, 0] = torch.where(flip < 0.5, -half[0], half[0])
    theta[:, 1, 1] = half[1]
    theta[:, :, 2] = centre.T
    return theta


def cut(pixels: Tensor, theta: Tensor, size: int) -> Tensor:
    """Windows (n, 2, 3) of pictures (n, 3, S, S) uint8 -> (n, 3, size, size) uint8.

    Where the pictures have more pixels than asked for, each output pixel is the mean of a fine grid of samples that
    steps over none of them, so that shrinking does not alias.
    """
    fine = -(-pixels.shape[-1] // size)
    grid = F.affine_grid(theta, [len(pixels), 3, size * fine, size * fine], align_corners=False)
    samples = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(samples, fine).round_().clamp_(0, 255).to(torch.uint8)


def data_path(folder) -> Path:
    """Where a folder of tars lies: a relative one under $SSEG_DATA, else under data/ of the repository."""
    return Path(os.environ.get("SSEG_DATA") or _DATA) / Path(folder).expanduser()  # an absolute one stays as it is


def tars_of(root: Path, only: str = "*") -> list[Path]:
    """The tars of a folder in a fixed order; `only`: patterns of their names, a space between."""
    if not root.is_dir():
        raise SSegError(f"There is no folder {root}: set data.root, or the variable SSEG_DATA, to your tars' folder.")
    if not (tars := visible(root, "*.tar")):
        raise SSegError(f"There are no .tar files in {root}: put image-text shards in WebDataset's layout there.")
    if not (chosen := [tar for tar in tars if any(fnmatchcase(tar.stem, one) for one in only.split())]):
        raise SSegError(f'No tar in {root} is named as "only: {only}" asks: it holds {tars[0].stem} and others.')
    return chosen


def list_samples(root: Path, only: str) -> tuple[list[Sample], int]:
    """All samples of a folder's chosen tars in a fixed order, and how many were incomplete."""
    samples, incomplete = [], 0
    for tar in tars_of(root, only):
        for key, parts in members(tar).items():
            captions = _captions(parts)
            if captions and "picture" in parts:
                samples.append(Sample(tar, *parts["picture"], captions, key))
            else:
                incomplete += 1
    return samples, incomplete


def members(path: Path) -> dict[str, dict]:
    """Key -> {"picture": (offset, size), "json": bytes, "txt": bytes}; the key ends at the name's first dot."""
    found = defaultdict(dict)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in filter(tarfile.TarInfo.isfile, tar):
                folder, slash, name = member.name.rpartition("/")
                stem, _, kind = name.partition(".")
                parts = found[folder + slash + stem]
                if kind.lower() in IMAGE_SUFFIXES:
                    parts["picture"] = (member.offset_data, member.size)
                elif kind in ("json", "txt"):
                    parts[kind] = tar.extractfile(member).read()
    except tarfile.TarError as error:  # cut off or not a tar: what came before is used
        print(f"{path} is damaged ({error}): {len(found)} samples of it are read.", file=sys.stderr)
    return {key: parts for key, parts in found.items() if parts}


def _with_masks(samples: list[Sample], masks: Masks, root: Path) -> tuple[list[Sample], list[np.ndarray]]:
    """Samples that have a pseudo-mask, and the ids (h, w) of each."""
    tars = sorted({sample.tar for sample in samples})
    ids = dict(zip(tars, masks(tars), strict=True))
    kept = [sample for sample in samples if sample.key in ids[sample.tar]]
    if not kept:
        raise SSegError(f"No picture with a caption in {root} has a pseudo-mask: take masks made of these very tars.")
    return kept, [ids[sample.tar][sample.key] for sample in kept]


def _captions(parts: dict) -> list[str]:
    """The list of the JSON file if it has one (img2dataset's has none), else the lines of the text file."""
    texts = []
    if "json" in parts:
        with suppress(ValueError, KeyError, TypeError):
            texts = json.loads(parts["json"])["captions"]
    if not texts and "txt" in parts:
        texts = parts["txt"].decode("utf-8", errors="replace").splitlines()
    return [clean for clean in (" ".join(text.split()) for text in texts if isinstance(text, str)) if clean]


def _check_memory(count: int, size: int, root: Path) -> None:
    need = count * 3 * size * size
    if need > MEMORY:
        raise SSegError(
            f"The {count:,} pictures of {root} take {need / 2**30:,.0f} GB at cache_size {size}, and {MEMORY >> 30} GB "
            "may lie on the device: use fewer shards or a smaller cache_size (streaming from disk is not built yet)."
        )


def _decode(samples: list[Sample], size: int) -> tuple[Tensor, Tensor, int]:
    """Pictures (M, 3, S, S) uint8, their width / height (M,), NaN where a picture is damaged, and how many are."""
    pixels = torch.zeros(len(samples), 3, size, size, dtype=torch.uint8)
    aspects = torch.full((len(samples),), float("nan"))
    rows_of = defaultdict(list)
    for row, sample in enumerate(samples):
        rows_of[sample.tar].append(row)

    def read_tar(tar: Path) -> int:
        with tar.open("rb") as file:
            for row in rows_of[tar]:
                file.seek(samples[row].offset)
                try:
                    pixels[row], aspects[row] = _squash(file.read(samples[row].size), size)
                except SSegError:
                    continue
        return len(rows_of[tar])

    start = said = time.monotonic()
    done = 0
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        for count in pool.map(read_tar, rows_of):
            done, now = done + count, time.monotonic()
            if now - said > 5:
                said, left = now, (now - start) * (len(samples) / done - 1)
                print(f"read {done} of {len(samples)} pictures, {left:.0f} s left", file=sys.stderr, flush=True)
    return pixels, aspects, int(aspects.isnan().sum())


def _squash(data: bytes, size: int) -> tuple[Tensor, float]:
    """Picture file -> (3, size, size) uint8 and width / height."""
    array = images.read(data, max_pixels=4 * size * size)  # JPEGs decode at a fraction where that is enough
    height, width = array.shape[:2]
    square = Image.fromarray(array).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1), width / height


def _has_meaning(word: str) -> bool:
    return len(word) > 1 and not word.isdigit() and word not in _STOP and bool(content_words(word))
